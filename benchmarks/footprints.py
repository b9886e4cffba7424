"""How good are footprints: outlines of pixels, simplified, regular?

    python benchmarks/footprints.py                               # the sample town
    python benchmarks/footprints.py --images DIR --labels FILE
    python benchmarks/footprints.py --images DIR --labels FILE --model RUN

Without a model, the true footprints of the labels are drawn as masks of the images'
pixels, some of them with noise: moved boundaries (a smooth random field), then rounded
corners too (a blurred mask). With a model, its classes are
what is outlined, on the tiles that it has learnt nothing from. All variants see the same
class raster. Prints a Markdown table; seeds are fixed.

Vertices and errors are means over matched footprints (IoU of at least 0.5); boundary
distance is that of points every 0.25 m along the found outline to the true one, and the
other way round.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import rasterio.features
import shapely
from pyproj import Transformer
from scipy import ndimage
from shapely import Polygon

from geoseg.geo.aoi import Tile, aoi_tiles, find_tiles
from geoseg.geo.labels import read_footprints
from geoseg.geo.polygon_scores import polygon_counts
from geoseg.geo.predictor import predict_strips
from geoseg.geo.raster import RasterDescription, describe, metric_crs
from geoseg.geo.strips import ClassStrip, classify
from geoseg.geo.vectorize import footprints
from geoseg.metrics import PolygonCounts
from geoseg.model import load_model
from geoseg.run_folders import newest_model

ROOT = Path(__file__).parents[1]
VARIANTS: dict[str, dict[str, Any]] = {
    "pixels": {"tolerance_m": 0.0},
    "simplified": {},
    "regular": {"regularize": True},
}
NAMES = ("background", "building")
#: Between the points at which boundaries are compared, metres.
STEP_M = 0.25


class Case(NamedTuple):
    """A class raster and the truth."""

    grid: RasterDescription
    strip: ClassStrip
    truth: list[Polygon]  # in pixel coordinates


class Found(NamedTuple):
    """What one variant made of one case."""

    counts: PolygonCounts
    pairs: list[tuple[float, float, float, float]]  # IoU, vertices, metres, area error
    vertices: int
    polygons: int
    seconds: float


def degrade(
    truth: list[Polygon], shape: tuple[int, int], noise: str, seed: int
) -> npt.NDArray[np.uint8]:
    """Draw polygons as a mask, and make it as imperfect as predictions are.

    Args:
        truth: In pixel coordinates.
        shape: Of the mask.
        noise: ``none``; ``jitter``: boundaries move by a smooth random field of 1 pixel
            standard deviation; ``round``: jittered, then corners rounded with a radius
            of 3 pixels.
        seed: Of the noise.
    """
    if not truth:
        return np.zeros(shape, dtype=np.uint8)
    mask = rasterio.features.rasterize(truth, shape).astype(bool)
    if noise == "none":
        return mask.astype(np.uint8)
    rng = np.random.default_rng(seed)
    inside = ndimage.distance_transform_edt(mask)
    outside = ndimage.distance_transform_edt(~mask)
    depth = inside - outside - np.where(mask, 0.5, -0.5)
    field = ndimage.gaussian_filter(rng.normal(size=shape), 2.0)
    mask = depth + field / field.std() > 0
    if noise == "round":
        mask = ndimage.gaussian_filter(mask.astype(float), 3.0) > 0.5
    return mask.astype(np.uint8)


def drawn_cases(tiles: list[Tile], noise: str) -> Iterator[Case]:
    """Yield the true footprints of tiles as masks."""
    for seed, tile in enumerate(tiles):
        grid = describe(tile.image)
        truth = read_footprints(tile, grid, pixels=True)
        classes = degrade(truth, (grid.height, grid.width), noise, seed)
        score = np.ones(classes.shape, dtype=np.float32)
        yield Case(grid, ClassStrip(0, classes, score), truth)


def predicted_cases(tiles: list[Tile], run: Path) -> Iterator[Case]:
    """Yield what a model makes of tiles."""
    model = load_model(newest_model(run))
    for tile in tiles:
        grid = describe(tile.image)
        parts = [classify(strip) for strip in predict_strips(model, tile.image)]
        classes = np.concatenate([part.classes for part in parts])
        score = np.concatenate([part.score for part in parts])
        truth = read_footprints(tile, grid, pixels=True)
        yield Case(grid, ClassStrip(0, classes, score), truth)


def outline(case: Case, options: dict[str, Any]) -> Found:
    """Make footprints and compare them with the truth."""
    start = time.perf_counter()
    found = list(footprints([case.strip], case.grid, class_names=NAMES, **options))
    seconds = time.perf_counter() - start
    a, b, c, d, e, f = (~case.grid.transform)[:6]
    polygons = [
        shapely.transform(
            it.geometry,
            lambda p: np.stack(
                (a * p[:, 0] + b * p[:, 1] + c, d * p[:, 0] + e * p[:, 1] + f), axis=1
            ),
        )
        for it in found
    ]
    vertices = [vertex_count(polygon) for polygon in polygons]
    return Found(
        polygon_counts(polygons, case.truth),
        list(compare(polygons, case)),
        sum(vertices),
        len(polygons),
        seconds,
    )


def vertex_count(polygon: Polygon) -> int:
    """Corners of all rings of a polygon."""
    return int(shapely.get_num_coordinates(polygon)) - 1 - len(polygon.interiors)


def compare(
    found: list[Polygon], case: Case
) -> Iterator[tuple[float, float, float, float]]:
    """Yield IoU, vertices, boundary distance and area error of matched footprints."""
    if not found or not case.truth:
        return
    truth = np.array(case.truth, dtype=object)
    truth = truth[shapely.is_valid(truth)]
    to_metres = ground(case.grid)
    tree = shapely.STRtree(truth)
    taken: set[int] = set()
    for polygon in found:
        near = tree.query(polygon, predicate="intersects")
        shared = shapely.area(shapely.intersection(polygon, truth[near]))
        iou = shared / (polygon.area + shapely.area(truth[near]) - shared)
        for n in np.argsort(-iou, kind="stable"):
            if iou[n] >= 0.5 and near[n] not in taken:
                taken.add(int(near[n]))
                mine, other = (
                    shapely.transform(it, to_metres) for it in (polygon, truth[near[n]])
                )
                yield (
                    float(iou[n]),
                    vertex_count(polygon),
                    boundary_distance(mine, other),
                    abs(mine.area - other.area) / other.area,
                )
                break


def ground(grid: RasterDescription) -> Any:
    """Return the function from pixel coordinates to metres."""
    transformer = Transformer.from_crs(
        grid.crs.to_wkt(), metric_crs(grid).to_wkt(), always_xy=True
    )
    a, b, c, d, e, f = grid.transform[:6]

    def locate(p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        x, y = a * p[:, 0] + b * p[:, 1] + c, d * p[:, 0] + e * p[:, 1] + f
        return np.stack(transformer.transform(x, y), axis=1)

    return locate


def boundary_distance(first: Polygon, second: Polygon) -> float:
    """Mean distance of two boundaries, both ways, metres."""

    def one_way(start: Polygon, goal: Polygon) -> float:
        line = shapely.segmentize(start.boundary, STEP_M)
        points = shapely.points(shapely.get_coordinates(line))
        return float(shapely.distance(points, goal.boundary).mean())

    return (one_way(first, second) + one_way(second, first)) / 2


def row(name: str, noise: str, found: list[Found]) -> str:
    """Return a row of the table."""
    hits, invented, missed = np.array([it.counts for it in found]).sum(axis=0)
    f1 = 2 * hits / (2 * hits + invented + missed)
    pairs = np.array([pair for it in found for pair in it.pairs])
    count = sum(it.polygons for it in found)
    iou, vertices, metres, area = pairs.mean(axis=0)
    seconds = sum(it.seconds for it in found) / count * 1000
    return (
        f"| {noise} | {name} | {count} | {f1:.3f} | {iou:.3f} | {vertices:.1f} "
        f"| {metres:.3f} | {100 * area:.1f} % | {seconds:.2f} |"
    )


def unseen(tiles: list[Tile], run: Path) -> list[Tile]:
    """Return the tiles that a run has kept for the test."""
    kept = load_model(newest_model(run)).card.provenance["tiles"]["test"]
    return [tile for tile in tiles if tile.id in kept]


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--noise", nargs="+", default=["none", "jitter", "round"])
    parser.add_argument("--tiles", type=int, help="at most so many")
    options = parser.parse_args(arguments)
    tiles = (
        find_tiles(options.images, options.labels)
        if options.images
        else aoi_tiles("sample", ROOT / "sample_tiles")
    )
    tiles = [tile for tile in tiles if tile.labels is not None]
    if options.model:
        tiles = unseen(tiles, options.model)
    tiles = tiles[: options.tiles]
    print("| mask | outlines | footprints | F1@0.5 | mean IoU | vertices ", end="")
    print("| boundary, m | area error | s per 1000 |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|")
    for noise in ["predicted"] if options.model else options.noise:
        cases = list(
            predicted_cases(tiles, options.model)
            if options.model
            else drawn_cases(tiles, noise)
        )
        for name, how in VARIANTS.items():
            found = [outline(case, how) for case in cases]
            print(row(name, noise, found), flush=True)


if __name__ == "__main__":
    main()
