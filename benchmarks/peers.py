"""Compare footprints of geoseg and of other tools, from the same masks.

    python benchmarks/peers.py --images DIR [--labels FILE] [--model RUN] [--tiles N]

The masks, and what is measured, are those of ``benchmarks/footprints.py``. Against

- ``raster_to_vector`` and ``orthogonalize`` of geoai (``pip install geoai-py``; they need no
  torch: ``--no-deps``, rasterio, rioxarray, xarray, opencv-python-headless, and leafmap with
  what it imports are enough; pystac 1.13, for leafmap breaks on later ones),
- ``buildingregulariser`` (``pip install buildingregulariser``), which takes polygons:
  it gets the outlines of pixels as geoseg cuts them.

A tool that is not installed is named. Each runs with its defaults and with tolerances that
suit the pixels: 0.75 pixels to simplify, as geoseg's; 2.5 pixels for right angles, as
buildingregulariser's manual recommends. All get metres (UTM) on the ground, one process, and
none is charged for polygons of less than 10 m². Invalid polygons are counted as drawn;
else their largest valid part stands for them.

The mean IoU of matched footprints is over other footprints for every tool. So there is a
paired one too: over the true footprints that all tools found, beside the simplified
outlines of geoseg, with the mean difference, its 95 % interval (bootstrap over footprints)
and how many footprints a tool draws better and worse than those.
"""

import contextlib
import io
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import shapely
from affine import Affine
from footprints import (
    HEADER,
    VARIANTS,
    Case,
    Found,
    draw,
    ground,
    judge,
    options_of,
    read_cases,
    row,
    through,
)
from shapely import Polygon

from geoseg.geo.rasters.ground import metric_crs

#: What suits the pixels: of a simplification, of right angles (pixels).
SIMPLIFY_PX, RIGHT_ANGLES_PX = 0.75, 2.5
#: Smaller polygons of any tool are left out, square metres.
LEAST_M2 = 10.0
#: The module of each peer, and where it comes from.
PEERS = {"geoai": "geoai-py", "buildingregulariser": "buildingregulariser"}

#: What the others stand beside.
OURS = "geoseg, simplified"
#: Differences of IoU up to this are rounding.
EQUAL = 1e-9
#: Columns that are added to those of ``footprints``.
PAIRED = " paired | paired IoU | difference [95 %] | better : worse |", "---:|" * 4

Tool = Callable[[Case], list[Polygon]]


def metric_affine(case: Case) -> Affine:
    """Return pixels to metres east and north, as they are at the middle of the image."""
    column, row = case.grid.width / 2, case.grid.height / 2
    points = np.array([(column, row), (column + 1, row), (column, row + 1)])
    origin, right, down = ground(case.grid)(points)
    turn = Affine(
        *(right[0] - origin[0], down[0] - origin[0], origin[0]),
        *(right[1] - origin[1], down[1] - origin[1], origin[1]),
    )
    return turn @ Affine.translation(-column, -row)


def in_pixels(table: Any, affine: Affine) -> list[Polygon]:
    """Return the polygons of a GeoDataFrame in pixels, the small ones left out."""
    found = np.array(table.geometry, dtype=object)
    found = found[shapely.area(found) >= LEAST_M2]
    return list(through(found, ~affine))


def geoai_tool(name: str, tolerance: str | None, tolerance_px: float) -> Tool:
    """Return one of geoai's functions, its tolerance in pixels if it is named."""
    from geoai import utils

    function = getattr(utils, name)

    def run(case: Case) -> list[Polygon]:
        if not case.strip.classes.any():
            return []
        affine = metric_affine(case)
        options = {} if tolerance is None else {tolerance: gsd(affine) * tolerance_px}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "mask.tif"
            write_mask(path, case, affine)
            # It shows a bar of progress for every mask.
            with contextlib.redirect_stderr(io.StringIO()):
                table = function(str(path), **options)
            return in_pixels(table, affine)

    return run


def write_mask(path: Path, case: Case, affine: Affine) -> None:
    """Write the class raster on a metric grid."""
    height, width = case.strip.classes.shape
    how = {"driver": "GTiff", "count": 1, "dtype": "uint8", "transform": affine}
    crs = (metric_crs(case.grid) or case.grid.crs).to_wkt()
    with rasterio.open(path, "w", width=width, height=height, crs=crs, **how) as mask:
        mask.write(case.strip.classes, 1)


def gsd(affine: Affine) -> float:
    """Return the side of a pixel, metres."""
    return float(np.sqrt(abs(affine.determinant)))


def regulariser_tool(tolerance_px: float | None) -> Tool:
    """Return buildingregulariser, its tolerances in pixels if they are given."""
    import geopandas
    from buildingregulariser import regularize_geodataframe

    def run(case: Case) -> list[Polygon]:
        affine = metric_affine(case)
        outlines = through(
            np.array(draw(case, VARIANTS["pixels"]), dtype=object), affine
        )
        if not len(outlines):
            return []
        options = {}
        if tolerance_px is not None:
            reach = gsd(affine) * tolerance_px
            options = {"simplify_tolerance": reach, "parallel_threshold": 2 * reach}
        crs = (metric_crs(case.grid) or case.grid.crs).to_wkt()
        table = geopandas.GeoDataFrame(geometry=list(outlines), crs=crs)
        found = regularize_geodataframe(table, num_cores=1, **options)
        return in_pixels(found.explode(ignore_index=True), affine)

    return run


def tools(names: list[str]) -> dict[str, Tool]:
    """Return geoseg's variants and what there is of the peers named."""
    found: dict[str, Tool] = {
        f"geoseg, {name}": partial(draw, options=how) for name, how in VARIANTS.items()
    }
    if "geoai" in names:
        for name, option, pixels in (
            ("raster_to_vector", "simplify_tolerance", SIMPLIFY_PX),
            ("orthogonalize", "epsilon", RIGHT_ANGLES_PX),
        ):
            found[f"geoai {name}"] = geoai_tool(name, None, pixels)
            found[f"geoai {name}, {pixels} px"] = geoai_tool(name, option, pixels)
    if "buildingregulariser" in names:
        found["buildingregulariser"] = regulariser_tool(None)
        tuned = f"buildingregulariser, {RIGHT_ANGLES_PX} px"
        found[tuned] = regulariser_tool(RIGHT_ANGLES_PX)
    return found


def shared_ious(found: dict[str, list[Found]]) -> dict[str, npt.NDArray[np.float64]]:
    """Return each tool's IoU of the true footprints that all tools found.

    Args:
        found: by tool, what it made of every case.
    """
    ious = {
        name: {
            (i, n): it.iou for i, one in enumerate(cases) for n, it in one.pairs.items()
        }
        for name, cases in found.items()
    }
    common = sorted(set.intersection(*(set(it) for it in ious.values())))
    return {name: np.array([it[key] for key in common]) for name, it in ious.items()}


def paired_columns(
    ours: npt.NDArray[np.float64], theirs: npt.NDArray[np.float64]
) -> str:
    """Return the columns that compare a tool with ours, footprint by footprint."""
    if not len(ours):
        return " 0 | – | – | – |"
    more = theirs - ours
    draws = np.random.default_rng(0).integers(0, len(more), (2000, len(more)))
    low, high = np.percentile(more[draws].mean(axis=1), (2.5, 97.5))
    better, worse = int((more > EQUAL).sum()), int((more < -EQUAL).sum())
    return (
        f" {len(more)} | {theirs.mean():.4f} | {more.mean():+.4f} "
        f"[{low:+.4f}, {high:+.4f}] | {better} : {worse} |"
    )


def main(arguments: list[str] | None = None) -> None:
    """Print the table, and the tools that are not installed."""
    parser = options_of(__doc__)
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), default=list(PEERS))
    options = parser.parse_args(arguments)
    installed = [name for name in options.peers if find_spec(name) is not None]
    for name in options.peers:
        if name not in installed:
            print(f"{name} is not installed: pip install {PEERS[name]}")
    print(
        "\n".join(
            line + more for line, more in zip(HEADER.split("\n"), PAIRED, strict=True)
        )
    )
    for noise, cases in read_cases(options):
        found = {
            name: [judge(it, tool) for it in cases]
            for name, tool in tools(installed).items()
        }
        ious = shared_ious(found)
        for name, of in found.items():
            beside = paired_columns(ious[OURS], ious[name])
            print(row(name, noise, of) + beside, flush=True)


if __name__ == "__main__":
    main()
