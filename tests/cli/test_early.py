"""What the command line alone says is wrong is said before anything heavy is imported."""

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json, shlex, sys
from click.testing import CliRunner
from geoseg.cli import cli

for words, _ in json.loads(sys.argv[1]):
    result = CliRunner().invoke(cli, shlex.split(words))
    heavy = {"torch", "rasterio", "lightning", "torchgeo", "fiona", "pandas", "numpy"}
    print(json.dumps([result.stderr, sorted(heavy & set(sys.modules))]))
"""
TRAIN = "train --images tiles "
#: Command line → what is said; none of them needs torch.
AT_ONCE = {
    TRAIN + "--method magic": "no method 'magic'",
    TRAIN + "--method iicc": "did you mean iic",
    TRAIN + "-o full": "full is not empty",
    TRAIN + "-p width": "'width' is not NAME=VALUE",
    "methods magic": "no method 'magic'",
    "predict x.tif -o full/mine.geojson": "exists already",
    "demo -o full": "exists already",
}
#: These need the method, or know of devices, through torch.
WITH_TORCH = {
    TRAIN + "--accumulate 2": "is not a larger batch for this method",
    TRAIN + "--warmup-steps 9 --max-steps 9": "expected less than the 9 steps",
    TRAIN + "--lr-schedule cosine --max-time 00:01:00": "only a time is given",
    TRAIN + "--method color_kmeans --devices 2": "color_kmeans makes none",
    TRAIN + "--classes building": "expected 2 to 255, background first",
    TRAIN + "-p depth=3": "no parameter 'depth'",
    TRAIN + "-p width=0": "width is 0, expected",
    TRAIN + "--patch-size 65": "expected a multiple of 2",
}


@pytest.mark.parametrize(
    ("cases", "allowed"), [(AT_ONCE, []), (WITH_TORCH, ["numpy", "torch"])]
)
def test_wrong_usage_is_refused_before_heavy_imports(tmp_path, cases, allowed):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.geojson").write_text("mine")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(list(cases.items()))],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    for (words, expected), (said, heavy) in zip(cases.items(), answers, strict=True):
        assert expected in said, words
        assert set(heavy) <= set(allowed), words
