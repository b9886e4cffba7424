"""Runs of the fixture ``town`` that take a second."""

import os

from geoseg.runs.settings import RunSettings

SMALL = {
    "parameters": {"width": 2, "over_clusters": 4, "half_width": 2},
    "patch_size": 32,
    "batch_size": 2,
    "max_steps": 3,
    "controls": False,
}
COLOUR = {
    "method": "color_kmeans",
    "parameters": {"clusters": 2, "pixels": 3000},
    "patch_size": 32,
    "controls": False,
}


def settings_of(tiles, values=COLOUR, **changes) -> RunSettings:
    return RunSettings(images=tiles.images, labels=tiles.labels, **values | changes)


def files_of(folder) -> set[str]:
    return set(os.listdir(folder))
