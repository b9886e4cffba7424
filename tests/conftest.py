"""What many tests share: tiles of a tiny town, a model that is known untrained."""

import json
import logging
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine

from geoseg.matching import Matching, match_clusters
from geoseg.methods import build_method, method_defaults
from geoseg.model import Model, ModelCard
from geoseg.normalization import Normalization

# Processes that the tests start share few cores with one another.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

DARK, BRIGHT = 0.1, 0.9


def certain(*classes: int) -> Matching:
    """Match clusters to 0 or 1 as if each had been seen on that class alone."""
    table = torch.zeros((1, len(classes), 2), dtype=torch.long)
    for cluster, class_id in enumerate(classes):
        table[0, cluster, class_id] = 1000
    matching = match_clusters(table, shrinkage=0)
    assert matching.cluster_to_class == classes
    return matching


@pytest.fixture(scope="session")
def bright_model():
    """Return ``make(bands, matched=True, **card)``: bright pixels are buildings.

    Values from 0 to 1000 become 0 to 1; the centroids lie at 0.1 and 0.9.
    """

    def make(bands=("red", "green", "blue"), *, matched=True, **changes) -> Model:
        count = len(bands)
        parameters = {**method_defaults("color_kmeans"), "clusters": 2}
        method = build_method("color_kmeans", count, parameters)
        centroids = torch.tensor([[DARK], [BRIGHT]]).expand(2, count)
        method.get_buffer("centroids").copy_(centroids)
        card = ModelCard(
            method="color_kmeans",
            parameters=parameters,
            normalization=Normalization(
                bands, (0.0,) * count, (1000.0,) * count, (0.5,) * count
            ),
            head="main",
            matchings={"main": certain(0, 1)} if matched else {},
        )
        return Model(method.eval(), card).with_card(**changes)

    return make


class Tiles(NamedTuple):
    """Where the fixture ``town`` keeps its tiles."""

    images: str
    labels: str


#: Row, column, height, width of the one building of tile n, in pixels.
RECTANGLES = tuple((8 + 2 * n, 10 + n, 20, 24 - n) for n in range(6))
TILE = 64


def write_tile(path: Path, number: int) -> tuple[Affine, dict[str, Any]]:
    """Write a dark tile with a bright rectangle; return its affine and footprint."""
    x, y = 664000 + 100 * (number % 3), 4000000 - 100 * (number // 3)
    transform = Affine(0.5, 0, x, 0, -0.5, y)
    noise = np.random.default_rng(number).integers(0, 60, (3, TILE, TILE))
    pixels = (100 + noise).astype(np.uint16)
    row, col, height, width = RECTANGLES[number]
    pixels[:, row : row + height, col : col + width] += 750
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=3,
        height=TILE,
        width=TILE,
        dtype="uint16",
        crs="EPSG:32611",
        transform=transform,
    ) as dataset:
        dataset.write(pixels)
    corners = [(col, row), (col, row + height), (col + width, row + height)]
    corners += [(col + width, row), (col, row)]
    return transform, {
        "type": "Polygon",
        "coordinates": [[list(transform * corner) for corner in corners]],
    }


def write_town(folder: Path) -> Tiles:
    """Write six tiles and their labels."""
    images, labels = folder / "town", folder / "labels"
    images.mkdir()
    labels.mkdir()
    for number in range(len(RECTANGLES)):
        _, polygon = write_tile(images / f"tile{number}.tif", number)
        feature = {"type": "Feature", "properties": {}, "geometry": polygon}
        name = "urn:ogc:def:crs:EPSG::32611"
        collection = {
            "type": "FeatureCollection",
            "crs": {"type": "name", "properties": {"name": name}},
            "features": [feature],
        }
        (labels / f"tile{number}.geojson").write_text(json.dumps(collection))
    return Tiles(str(images), str(labels))


@pytest.fixture(scope="session")
def town(tmp_path_factory) -> Tiles:
    """Six tiles of 64 × 64 pixels (not to be changed): one bright building each."""
    return write_town(tmp_path_factory.mktemp("tiles"))


@pytest.fixture
def own_town(tmp_path) -> Tiles:
    """The same tiles, for tests that change them."""
    folder = tmp_path / "own"
    folder.mkdir()
    return write_town(folder)


@pytest.fixture(autouse=True)
def untouched_log():
    """Take back what the command line did to the logger, in other fixtures too."""
    _reset_log()
    yield
    _reset_log()


def _reset_log() -> None:
    logger = logging.getLogger("geoseg")
    logger.handlers.clear()
    logger.setLevel(logging.NOTSET)
    logger.propagate = True
