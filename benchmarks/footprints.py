"""Compare footprints with the truth: pixel outlines, simplified, regularised, split.

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
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import rasterio.features
import shapely
from affine import Affine
from pyproj import Transformer
from scipy import ndimage
from shapely import Polygon

from geoseg.geo.evaluation.footprint_counts import polygon_counts
from geoseg.geo.footprints.vectorize import footprints
from geoseg.geo.labels.labels import read_footprints
from geoseg.geo.predict.predictor import predict_strips
from geoseg.geo.rasters.description import RasterDescription
from geoseg.geo.rasters.ground import metric_crs
from geoseg.geo.rasters.raster import describe
from geoseg.geo.rasters.strips import ClassStrip, classify
from geoseg.geo.tiles.tiles import Tile, aoi_tiles, find_tiles
from geoseg.model.file import load_model
from geoseg.runs.folders import newest_model
from geoseg.scores.metrics import PolygonCounts

ROOT = Path(__file__).parents[1]
VARIANTS: dict[str, dict[str, Any]] = {
    "pixels": {"tolerance_m": 0.0},
    "simplified": {},
    "regular": {"regularize": True},
    "split": {"split_touching": True},
    "regular, split": {"regularize": True, "split_touching": True},
}
NAMES = ("background", "building")
POLYGON = shapely.GeometryType.POLYGON
#: Between the points at which boundaries are compared, metres.
STEP_M = 0.25
#: Two polygons overlap that share more, square pixels; less is due to rounding.
SHARED_PX = 1e-3
HEADER = """\
| mask | outlines | footprints | F1@0.5 | mean IoU | vertices | boundary, m | area error \
| invalid | overlaps | s per 1000 |
|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"""


class Case(NamedTuple):
    """A class raster and the truth."""

    grid: RasterDescription
    strip: ClassStrip
    truth: list[Polygon]  # in pixel coordinates


class Pair(NamedTuple):
    """A predicted footprint with the true one that it matches."""

    iou: float
    vertices: float
    boundary_m: float
    area_error: float


class Found(NamedTuple):
    """Footprints that one variant made of one case."""

    counts: PolygonCounts
    pairs: dict[int, Pair]  # by the number of the true footprint
    polygons: int
    invalid: int
    overlaps: int  # pairs of polygons
    seconds: float


def degrade(
    truth: list[Polygon], shape: tuple[int, int], noise: str, seed: int
) -> npt.NDArray[np.uint8]:
    """Rasterise polygons, and add errors like those of predictions.

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
    """Yield a model's predictions of tiles."""
    model = load_model(newest_model(run))
    for tile in tiles:
        grid = describe(tile.image)
        parts = [classify(strip) for strip in predict_strips(model, grid)]
        classes = np.concatenate([part.classes for part in parts])
        score = np.concatenate([part.score for part in parts])
        truth = read_footprints(tile, grid, pixels=True)
        yield Case(grid, ClassStrip(0, classes, score), truth)


def draw(case: Case, options: dict[str, Any]) -> list[Polygon]:
    """Return footprints in pixel coordinates."""
    found = footprints([case.strip], case.grid, class_names=NAMES, **options)
    outlines = np.array([it.geometry for it in found], dtype=object)
    return list(through(outlines, ~case.grid.transform))


def through(polygons: npt.NDArray[np.object_], affine: Affine) -> Any:
    """Transform polygons by an affine."""
    a, b, c, d, e, f = affine[:6]

    def move(p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        x, y = p[:, 0], p[:, 1]
        return np.stack((a * x + b * y + c, d * x + e * y + f), axis=1)

    return shapely.transform(polygons, move)


def judge(case: Case, tool: Callable[[Case], list[Polygon]]) -> Found:
    """Run a tool, and compare its polygons in pixel coordinates with the truth."""
    start = time.perf_counter()
    polygons = tool(case)
    seconds = time.perf_counter() - start
    array = np.array(polygons, dtype=object)
    valid = shapely.is_valid(array) & (shapely.get_type_id(array) == POLYGON)
    sound = [whole(it) for it in polygons]
    return Found(
        polygon_counts(sound, case.truth),
        dict(compare(sound, polygons, case)),
        len(polygons),
        int((~valid).sum()),
        overlapping(sound),
        seconds,
    )


def whole(polygon: Polygon) -> Polygon:
    """Return a polygon, or the largest valid part of an invalid one."""
    if polygon.is_valid and polygon.geom_type == "Polygon":
        return polygon
    parts = shapely.get_parts(shapely.make_valid(polygon))
    return parts[shapely.area(parts).argmax()]


def overlapping(polygons: list[Polygon]) -> int:
    """Count the pairs of polygons that overlap."""
    array = np.array(polygons, dtype=object)
    first, second = shapely.STRtree(array).query(array, predicate="intersects")
    once = first < second
    shared = shapely.intersection(array[first[once]], array[second[once]])
    return int((shapely.area(shared) > SHARED_PX).sum())


def vertex_count(polygon: Polygon) -> int:
    """Return the number of vertices of all rings of a polygon."""
    rings = int(shapely.get_num_geometries(polygon)) + sum(
        int(shapely.get_num_interior_rings(part)) for part in shapely.get_parts(polygon)
    )
    return int(shapely.get_num_coordinates(polygon)) - rings


def compare(
    found: list[Polygon], drawn: list[Polygon], case: Case
) -> Iterator[tuple[int, Pair]]:
    """Yield matched footprints, each with the number of the true one.

    Args:
        found: valid ones.
        drawn: the same as a tool drew them, whose vertices count.
        case: what they were made of, and the truth.
    """
    if not found or not case.truth:
        return
    truth = np.array(case.truth, dtype=object)
    known = np.flatnonzero(shapely.is_valid(truth))
    truth = truth[known]
    to_metres = ground(case.grid)
    tree = shapely.STRtree(truth)
    taken: set[int] = set()
    for polygon, as_drawn in zip(found, drawn, strict=True):
        near = tree.query(polygon, predicate="intersects")
        shared = shapely.area(shapely.intersection(polygon, truth[near]))
        iou = shared / (polygon.area + shapely.area(truth[near]) - shared)
        for n in np.argsort(-iou, kind="stable"):
            if iou[n] >= 0.5 and near[n] not in taken:
                taken.add(int(near[n]))
                mine, other = (
                    shapely.transform(it, to_metres) for it in (polygon, truth[near[n]])
                )
                yield int(known[near[n]]), Pair(
                    float(iou[n]),
                    vertex_count(as_drawn),
                    boundary_distance(mine, other),
                    abs(mine.area - other.area) / other.area,
                )
                break


def ground(grid: RasterDescription) -> Any:
    """Return the function from pixel coordinates to metres."""
    transformer = Transformer.from_crs(
        grid.crs.to_wkt(), (metric_crs(grid) or grid.crs).to_wkt(), always_xy=True
    )
    a, b, c, d, e, f = grid.transform[:6]

    def locate(p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        x, y = a * p[:, 0] + b * p[:, 1] + c, d * p[:, 0] + e * p[:, 1] + f
        return np.stack(transformer.transform(x, y), axis=1)

    return locate


def boundary_distance(first: Polygon, second: Polygon) -> float:
    """Return the mean distance of two boundaries in both directions, metres."""

    def one_way(start: Polygon, goal: Polygon) -> float:
        line = shapely.segmentize(start.boundary, STEP_M)
        points = shapely.points(shapely.get_coordinates(line))
        return float(shapely.distance(points, goal.boundary).mean())

    return (one_way(first, second) + one_way(second, first)) / 2


def row(name: str, noise: str, found: list[Found]) -> str:
    """Return a row of the table."""
    hits, invented, missed = np.array([it.counts for it in found]).sum(axis=0)
    f1 = 2 * hits / (2 * hits + invented + missed)
    pairs = np.array([pair for it in found for pair in it.pairs.values()])
    count = sum(it.polygons for it in found)
    iou, vertices, metres, area = pairs.mean(axis=0)
    seconds = sum(it.seconds for it in found) / count * 1000
    invalid = sum(it.invalid for it in found)
    overlaps = sum(it.overlaps for it in found)
    return (
        f"| {noise} | {name} | {count} | {f1:.3f} | {iou:.3f} | {vertices:.1f} "
        f"| {metres:.3f} | {100 * area:.1f} % | {invalid} | {overlaps} | {seconds:.2f} |"
    )


def unseen(tiles: list[Tile], run: Path) -> list[Tile]:
    """Return the test tiles of a run."""
    kept = load_model(newest_model(run)).card.provenance["tiles"]["test"]
    return [tile for tile in tiles if tile.id in kept]


def options_of(description: str) -> argparse.ArgumentParser:
    """Return the options that say which masks are outlined."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--images", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--noise", nargs="+", default=["none", "jitter", "round"])
    parser.add_argument("--tiles", type=int, help="at most so many")
    return parser


def read_cases(options: argparse.Namespace) -> Iterator[tuple[str, list[Case]]]:
    """Yield every kind of mask and its cases."""
    tiles = (
        find_tiles(options.images, options.labels)
        if options.images
        else aoi_tiles("sample", ROOT / "sample_tiles")
    )
    tiles = [tile for tile in tiles if tile.labels is not None]
    if options.model:
        tiles = unseen(tiles, options.model)[: options.tiles]
        yield "predicted", list(predicted_cases(tiles, options.model))
        return
    for noise in options.noise:
        yield noise, list(drawn_cases(tiles[: options.tiles], noise))


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    options = options_of(__doc__).parse_args(arguments)
    print(HEADER)
    for noise, cases in read_cases(options):
        for name, how in VARIANTS.items():
            found = [judge(case, partial(draw, options=how)) for case in cases]
            print(row(name, noise, found), flush=True)


if __name__ == "__main__":
    main()
