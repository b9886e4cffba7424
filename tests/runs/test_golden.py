"""Files of geoseg 0.1.0 of 1 December 2026, before its modules had rooms, still serve.

``tests/golden`` holds a model file, the class raster that it predicted, and the folder
of a run that was killed in the middle of its training. They were made by::

    geoseg sample --tiles 6 --size 128
    geoseg train --aoi sample -p width=2 -p over_clusters=6 --batch-size 4 \
        --patch-size 32 --max-steps 60 --checkpoint-steps 5 --no-controls --report none
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from geoseg.cli import cli
from geoseg.geo.sample.write import write_sample
from geoseg.model.file import load_model
from geoseg.runs import train

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture
def tiles(tmp_path, monkeypatch) -> Path:
    """The sample tiles of the golden files, and the current folder above them."""
    write_sample(tmp_path / "sample_tiles", tiles=6, size=128)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "sample_tiles"


def test_a_golden_model_predicts_the_golden_map(tiles):
    (image,) = tiles.rglob("MUL-PanSharpen_*_img13.tif")
    words = ["--model", GOLDEN / "model.safetensors", "--raster", "classes.tif"]
    result = CliRunner().invoke(
        cli,
        [str(word) for word in ("predict", image, "-o", "buildings.geojson", *words)],
    )
    assert result.exit_code == 0, result.output
    with rasterio.open(GOLDEN / "classes_img13.tif") as expected:
        with rasterio.open("classes.tif") as made:
            assert made.transform == expected.transform and made.crs == expected.crs
            differing = made.read(1) != expected.read(1)
            # processors differ in the last bits of a probability
            assert np.count_nonzero(differing) <= 2
            assert set(np.unique(made.read(1))) == {0, 1}


def test_a_golden_run_goes_on_to_the_golden_model(tiles, tmp_path):
    run = tmp_path / "half"
    shutil.copytree(GOLDEN / "half", run)
    assert not (run / "model.safetensors").exists()
    train.resume(run)
    made, expected = (load_file(path / "model.safetensors") for path in (run, GOLDEN))
    assert made.keys() == expected.keys()
    for name, weights in expected.items():
        torch.testing.assert_close(made[name], weights, rtol=1e-3, atol=1e-4)
    cards = [load_model(path / "model.safetensors").card for path in (run, GOLDEN)]
    assert cards[0].matchings["over"].cluster_to_class == (
        cards[1].matchings["over"].cluster_to_class
    )
