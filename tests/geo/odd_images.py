"""Folders of odd images: what is in them, and what a map must find."""

import numpy as np
from affine import Affine

from geoseg.geo.evaluation.matching import cluster_map
from geoseg.methods import build_method
from geoseg.model.card import ModelCard
from geoseg.model.file import Model
from geoseg.runs.settings import RunSettings
from geoseg.runs.tiles.run_tiles import loader_of, normalization_of, tiles_of

SIDE = 48
GRID = Affine(0.5, 0, 664000, 0, -0.5, 4000000)
PARAMETERS = {"clusters": 2, "pixels": 4000}


def scene(number=0, bands=3, dtype="uint16", low=100, high=850, size=(SIDE, SIDE)):
    """Return a dark scene ``(B, H, W)`` with a bright rectangle."""
    noise = np.random.default_rng(number).random((bands, *size))
    pixels = low + 0.08 * (high - low) * noise
    pixels[:, 8:24, 10:30] += 0.9 * (high - low)
    return pixels.astype(dtype)


def rectangle(size=(SIDE, SIDE)):
    inside = np.zeros(size, bool)
    inside[8:24, 10:30] = True
    return inside


def map_folder(folder, **settings):
    """Train on a folder and return its bands and the ``(H, W)`` clusters of each image."""
    settings = RunSettings(
        images=str(folder), method="color_kmeans", patch_size=32, **settings
    )
    tiles = tiles_of(settings)
    stretch = normalization_of(settings, tiles)
    method = build_method("color_kmeans", stretch.channels, PARAMETERS)
    method.whiten(stretch.whitening)
    loader = loader_of(settings, tiles, stretch)
    method.finish(lambda: loader.batches(0))
    card = ModelCard(
        method="color_kmeans",
        parameters=PARAMETERS,
        normalization=stretch,
        nodata=settings.nodata,
        head="main",
    )
    model = Model(method.eval(), card)
    return stretch.bands, [cluster_map(model, t, "main").numpy() for t in tiles]


def assert_found(folder, *, bands=None, valid=None, **settings):
    found, maps = map_folder(folder, **settings)
    if bands is not None:
        assert list(found) == bands.split()
    for clusters in maps:
        expected = rectangle(clusters.shape)
        data = clusters >= 0
        if valid is not None:
            np.testing.assert_array_equal(data, valid)
        (bright,) = np.unique(clusters[expected & data])
        np.testing.assert_array_equal(clusters == bright, expected & data)
