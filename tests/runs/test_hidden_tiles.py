"""Tiles whose labels are hidden: most of them train, and no label of theirs counts."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import rasterio
from affine import Affine

from geoseg.core.run_files import MODEL_NAME, SCORES_NAME, SETTINGS_NAME
from geoseg.geo.tiles.roles import tiles_by_role
from geoseg.model.card import load_card
from geoseg.model.file import file_sha256
from geoseg.runs import train as runs
from geoseg.runs.settings import RunSettings
from geoseg.runs.tiles.run_tiles import patch_tiles, split_of, tiles_of, training_tiles

#: Images, tiles a side of each, pixels a side of a tile and between tiles.
IMAGES, BLOCKS, PIXELS = 4, 10, 16
SIDE = BLOCKS * PIXELS + (BLOCKS - 1) * 16


class District(NamedTuple):
    """Folders of four images of a hundred tiles each, and of their masks."""

    images: Path
    labels: Path


def write(path: Path, pixels: np.ndarray[Any, Any], number: int) -> None:
    grid = Affine(1, 0, 664000 + 1000 * number, 0, -1, 4000000)
    size = {"height": SIDE, "width": SIDE, "count": len(pixels)}
    with rasterio.open(
        path,
        *("w", "GTiff"),
        **size,
        dtype="uint8",
        crs="EPSG:32611",
        transform=grid,
    ) as dataset:
        dataset.write(pixels.astype(np.uint8))


@pytest.fixture(scope="module")
def district(tmp_path_factory) -> District:
    """A bright building in every tile."""
    made = District(*(tmp_path_factory.mktemp(name) for name in ("images", "masks")))
    generator = np.random.default_rng(0)
    for number in range(IMAGES):
        mask = np.zeros((1, SIDE, SIDE), bool)
        for row in range(0, SIDE, 2 * PIXELS):
            for col in range(0, SIDE, 2 * PIXELS):
                mask[:, row + 4 : row + 11, col + 3 : col + 12] = True
        noise = generator.integers(0, 60, (3, SIDE, SIDE))
        write(made.images / f"t{number}.tif", noise + 150 * mask, number)
        write(made.labels / f"t{number}.tif", mask, number)
    return made


#: Parameters that train in a moment.
FEW = {
    "color_kmeans": {"clusters": 2, "pixels": 3000},
    "forest": {"trees": 2, "depth": 3},
    "iic": {"width": 2, "over_clusters": 4, "half_width": 2},
    "semisup": {"width": 2, "over_clusters": 4, "half_width": 2},
}


def settings_of(
    district: District, method: str = "color_kmeans", **changes
) -> RunSettings:
    values = {
        "method": method,
        "parameters": FEW[method],
        "blocks": BLOCKS,
        "match_tiles": 10,
        "test_tiles": 20,
        "patch_size": PIXELS,
        "patches_per_epoch": 16,
        "max_steps": 3,
        "controls": False,
        "report": "none",
    }
    return RunSettings(
        images=str(district.images), labels=str(district.labels), **values | changes
    )


@pytest.fixture(scope="module")
def run(district, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    return runs.start(settings_of(district), folder).run


def windows(run: Path, role: str) -> Iterator[tuple[int, slice, slice]]:
    """Image, rows and columns of the tiles of a role."""
    for entry in json.loads((run / SETTINGS_NAME).read_text())["roles"]:
        if entry["role"] == role:
            row, col, height, width = entry["window"]
            rows, cols = slice(row, row + height), slice(col, col + width)
            yield int(entry["tile"][1]), rows, cols


@pytest.fixture
def scramble(district, run):
    """Make noise of the labels of a role, or of all that is no tile; undo it after."""
    kept = district.labels.with_name("kept")
    shutil.copytree(district.labels, kept)

    def make(role: str) -> None:
        generator = np.random.default_rng(1)
        masks = [
            rasterio.open(path).read() for path in sorted(district.labels.iterdir())
        ]
        for image, rows, cols in windows(run, role):
            shape = masks[image][:, rows, cols].shape
            masks[image][:, rows, cols] = generator.integers(0, 2, shape)
        for number, mask in enumerate(masks):
            write(district.labels / f"t{number}.tif", mask, number)

    yield make
    shutil.rmtree(district.labels)
    kept.rename(district.labels)


def results(run: Path) -> tuple[str, Any]:
    """What must not change: the model file, and the scores."""
    scores = json.loads((run / SCORES_NAME).read_text())
    return file_sha256(run / MODEL_NAME), scores["entries"]


def test_most_tiles_train_although_all_have_labels(district, run):
    settings = settings_of(district, match_tiles=None, test_tiles=None)
    split = split_of(settings, tiles_of(settings))
    assert tiles_by_role(split) == {
        **{"match": 50, "select": 0, "test": 100, "hidden": 250, "unlabelled": 0}
    }
    assert len(training_tiles(split)) == 300
    trained = patch_tiles(settings.method, split)
    assert len(trained) == 300 and not any(tile.labels for tile in trained)
    assert len(list(windows(run, "hidden"))) == 370


def test_labels_of_hidden_tiles_change_no_weight_matching_or_score(
    district, run, scramble, tmp_path
):
    scramble("hidden")
    again = runs.start(settings_of(district), tmp_path / "hidden").run
    assert results(again) == results(run)


@pytest.mark.slow
def test_labels_of_matching_and_test_tiles_do(district, run, scramble, tmp_path):
    scramble("test")
    other = runs.start(settings_of(district), tmp_path / "test").run
    cards = [load_card(folder / MODEL_NAME) for folder in (run, other)]
    assert cards[0].matchings == cards[1].matchings
    assert cards[0].metrics != cards[1].metrics
    scramble("match")
    last = runs.start(settings_of(district), tmp_path / "match").run
    assert load_card(last / MODEL_NAME).matchings != cards[0].matchings


@pytest.mark.slow
@pytest.mark.parametrize("method", ["iic", "semisup", "forest"])
def test_whatever_the_method_labels_count_of_the_matching_tiles_alone(
    district, run, scramble, tmp_path, method
):
    settings = settings_of(district, method, controls=method == "iic")
    first = runs.start(settings, tmp_path / "first").run
    scramble("hidden")
    second = runs.start(settings, tmp_path / "second").run
    assert results(first) == results(second)
