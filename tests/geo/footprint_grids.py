"""Rasters in metres for tests of footprints."""

from collections.abc import Iterator

import numpy as np
from affine import Affine
from rasterio.crs import CRS

from geoseg.geo.rasters.description import RasterDescription
from geoseg.geo.rasters.strips import ClassStrip

UTM = "EPSG:32611"
METRE_GRID = Affine(1, 0, 600000, 0, -1, 4000000)
NAMES = ("background", "building", "greenhouse", "tank")


def grid(
    shape: tuple[int, ...], transform: Affine = METRE_GRID, crs: str | None = UTM
) -> RasterDescription:
    return RasterDescription(
        path="memory",
        width=shape[1],
        height=shape[0],
        count=3,
        dtypes=("uint8",) * 3,
        crs=None if crs is None else CRS.from_user_input(crs),
        transform=transform,
        band_names=("red", "green", "blue"),
        band_indexes=(1, 2, 3),
        nodata=None,
        alpha=None,
        gsd_m=1.0,
    )


def strips(
    classes: np.ndarray, ends: list[int], score: np.ndarray | None = None
) -> Iterator[ClassStrip]:
    if score is None:
        score = np.full(classes.shape, 0.75, dtype=np.float32)
    rows = [0, *sorted({end for end in ends if 0 < end < len(classes)}), len(classes)]
    for top, bottom in zip(rows[:-1], rows[1:], strict=True):
        yield ClassStrip(top, classes[top:bottom], score[top:bottom])
