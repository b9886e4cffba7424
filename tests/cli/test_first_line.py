"""A command says what it begins with before it imports what takes seconds."""

import subprocess
import sys
from pathlib import Path

import pytest

#: Prints the first line that is logged, and whether torch is there by then.
CODE = """
import logging, os, sys

def emit(self, record):
    print("torch" in sys.modules, record.getMessage(), flush=True)
    os._exit(0)

logging.StreamHandler.emit = emit
from geoseg.cli import main
main()
"""


@pytest.mark.parametrize(
    ("words", "first"),
    [
        (["demo", "-o", "new"], "the sample tiles"),
        (["train", "--images", "tiles"], "the tiles of tiles"),
        (["train", "--resume", "run"], "the run run"),
        (["match", "run", "--images", "tiles"], "the tiles of tiles"),
        (["predict", "tiles/a.tif", "-o", "b.gpkg", "--model", "run"], "tiles/a.tif"),
        (["predict", "tiles", "-o", "b.gpkg", "--model", "run"], "2 images"),
        (["evaluate", "tiles/a.tif", "--images", "tiles"], "the tiles of tiles"),
        (
            ["benchmark", "--images", "tiles", "--methods", "iic", "-o", "new"],
            "the tiles of tiles",
        ),
        (["export", "run", "-o", "b.onnx"], "the model run/model.safetensors"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_the_first_line_comes_before_torch(tmp_path, words, first):
    for name in ("tiles/a.tif", "tiles/b.tif", "run/model.safetensors", "run/run.json"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"looked at later")
    done = subprocess.run(
        [sys.executable, "-c", CODE, *words],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=100,
    )
    assert done.stdout == f"False looking at {first}\n", done.stderr
    assert not Path(tmp_path / "new").exists()
