"""Compare the time and memory of footprints with GDAL's polygonize.

    python benchmarks/vectorize.py                # 10,000², 62,500 objects
    python benchmarks/vectorize.py --size 40000   # 1.6 gigapixels, a million: long

Makes a class raster (tiled, DEFLATE) with an object in every cell of 40 × 40 pixels:
rectangles turned at random, one in eight an L, one in eight with a courtyard, their edges
ragged by a pixel, as predictions are. Then measures, each in a process of its own and in
turns: geoseg, which streams rows and gives simplified footprints with score, area,
perimeter and orientation; and GDAL's polygonize (``rasterio.features.shapes``) on pieces
of 10,000 rows × 10,000 columns, which gives outlines of pixels, cut wherever pieces meet.
Both with nothing done to the polygons (``none``), and written to a FlatGeobuf (``fgb``).
Prints medians of CPU time. Goal: at most 1.5 times GDAL's.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from multiprocessing import Process
from pathlib import Path

import fiona
import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.features
from rasterio.windows import Window

from geoseg.geo.footprints.vectorize import Footprint, footprints
from geoseg.geo.formats.writer import write_footprints
from geoseg.geo.rasters.raster import block_cache, describe
from geoseg.geo.rasters.strips import ClassStrip

CELL = 40
#: Rows of cells that are drawn; below, they come again, shifted by a few cells.
DRAWN = 25
#: Rows that a prediction with windows of 256 and overlaps of 32 hands out at a time.
STRIP = 224
#: Side of the pieces that GDAL takes.
PIECE = 10_000
NAMES = ("background", "building")
GOAL = 1.5


def draw_cells(
    rng: np.random.Generator, count: int, ragged: float
) -> npt.NDArray[np.uint8]:
    """Draw a row of cells: ``(CELL, count * CELL)``, 1 in objects."""
    middle = rng.uniform(-2, 2, (2, count, 1, 1)) + CELL / 2 - 0.5
    half = rng.uniform(5, 12, (2, count, 1, 1))
    angle = rng.uniform(0, np.pi, (count, 1, 1))
    y, x = np.mgrid[:CELL, :CELL][:, None] - middle
    along = np.abs(x * np.cos(angle) + y * np.sin(angle))
    across = np.abs(y * np.cos(angle) - x * np.sin(angle))
    edge = rng.uniform(-ragged, ragged, (count, CELL, CELL))
    inside = (along + edge < half[0]) & (across + edge < half[1])
    kind = np.arange(count)[:, None, None] % 8
    inside &= ~((kind == 0) & (x > 0) & (y > 0))
    inside &= ~((kind == 1) & (np.hypot(x, y) < 3.5))
    return inside.astype(np.uint8).transpose(1, 0, 2).reshape(CELL, -1)


def make_raster(path: Path, size: int, ragged: float) -> None:
    """Write the class raster, some rows of cells at a time."""
    rng = np.random.default_rng(0)
    cells = -(-size // CELL)
    drawn = np.concatenate([draw_cells(rng, cells, ragged) for _ in range(DRAWN)])
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "crs": "EPSG:32611"}
    profile |= {"tiled": True, "blockxsize": 512, "blockysize": 512}
    profile |= {"compress": "deflate", "zlevel": 1, "bigtiff": "if_safer"}
    transform = rasterio.transform.from_origin(600000, 4000000, 0.5, 0.5)
    with rasterio.open(
        path, "w", width=size, height=size, transform=transform, **profile
    ) as dataset:
        for number, row in enumerate(range(0, size, len(drawn))):
            rows = min(len(drawn), size - row)
            shifted = np.roll(drawn, 7 * CELL * number, axis=1)[:rows, :size]
            dataset.write(shifted, 1, window=Window(0, row, size, rows))


def run_geoseg(path: Path, output: Path | None) -> int:
    """Make footprints of the raster; count them."""
    grid = describe(str(path))
    found = footprints(read_strips(path), grid, class_names=NAMES)
    if output is None:
        return count(found)
    return write_footprints(output, found, crs=grid.crs)


def read_strips(path: Path) -> Iterator[ClassStrip]:
    """Read the class raster as prediction gives it; its scores are all the same."""
    with block_cache(64), rasterio.open(path) as dataset:
        score = np.full((STRIP, dataset.width), 0.75, dtype=np.float32)
        for row in range(0, dataset.height, STRIP):
            rows = min(STRIP, dataset.height - row)
            classes = dataset.read(1, window=Window(0, row, dataset.width, rows))
            yield ClassStrip(row, classes, score[:rows])


def run_gdal(path: Path, output: Path | None) -> int:
    """Polygonize the raster piece by piece; count the polygons."""
    with block_cache(64), rasterio.open(path) as dataset:
        pieces = (
            Window(left, top, min(PIECE, dataset.width - left), height)
            for top in range(0, dataset.height, PIECE)
            for height in (min(PIECE, dataset.height - top),)
            for left in range(0, dataset.width, PIECE)
        )
        shapes = (shape for piece in pieces for shape in polygonize(dataset, piece))
        if output is None:
            return count(shapes)
        with fiona.open(
            output,
            "w",
            driver="FlatGeobuf",
            crs_wkt=dataset.crs.to_wkt(),
            schema={"geometry": "Polygon", "properties": {"class": "int"}},
        ) as collection:
            collection.writerecords(
                {
                    "type": "Feature",
                    "geometry": geometry,
                    "properties": {"class": int(value)},
                }
                for geometry, value in shapes
            )
            return len(collection)


def polygonize(
    dataset: rasterio.DatasetReader, piece: Window
) -> Iterator[tuple[dict[str, object], float]]:
    """Yield outlines of the objects' pixels in a piece, and their class."""
    classes = dataset.read(1, window=piece)
    yield from rasterio.features.shapes(
        classes,
        mask=classes > 0,
        connectivity=4,
        transform=dataset.window_transform(piece),
    )


def count(items: Iterable[Footprint | tuple[dict[str, object], float]]) -> int:
    """Return the number of items."""
    return sum(1 for _ in items)


def measure(kind: str, path: Path, to: str) -> dict[str, float]:
    """Measure in a process of its own."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        output = None if to == "none" else Path(folder) / f"objects.{to}"
        start, used = time.perf_counter(), time.process_time()
        objects = (run_geoseg if kind == "geoseg" else run_gdal)(path, output)
        return {
            "cpu_s": time.process_time() - used,
            "wall_s": time.perf_counter() - start,
            "objects": objects,
            "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10,
        }


def in_process(kind: str, path: Path, to: str) -> dict[str, float]:
    """Run this file again for one measurement."""
    command = [sys.executable, __file__, "--work", kind, str(path), to]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def main() -> None:
    """Measure in turns; print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--size", type=int, default=10_000, help="side in pixels")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--ragged", type=float, default=0.5, help="pixels")
    parser.add_argument("--to", nargs="+", default=["none", "fgb"])
    parser.add_argument("--folder", help="for the raster; default: a temporary one")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        kind, path, to = options.work
        print(json.dumps(measure(kind, Path(path), to)))
        return
    print(
        "| polygons to | geoseg | GDAL | ratio | objects | memory: geoseg, GDAL |\n"
        "|---|---:|---:|---:|---:|---:|"
    )
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "classes.tif"
        # Apart: a process inherits the peak memory of the one that starts it.
        making = Process(target=make_raster, args=(path, options.size, options.ragged))
        making.start()
        making.join()
        for to in options.to:
            print(row_of(path, to, options.turns), flush=True)


def row_of(path: Path, to: str, turns: int) -> str:
    """Measure both in turns; return a row of the table."""
    kinds = ("geoseg", "gdal")
    runs = [[in_process(kind, path, to) for kind in kinds] for _ in range(turns)]
    ours, gdal = (
        {key: statistics.median(run[i][key] for run in runs) for key in runs[0][i]}
        for i in (0, 1)
    )
    ratio = statistics.median(one["cpu_s"] / other["cpu_s"] for one, other in runs)
    return (
        f"| {to} | {ours['cpu_s']:.1f} s | {gdal['cpu_s']:.1f} s "
        f"| {ratio:.2f} (≤ {GOAL:g}) | {ours['objects']:,.0f}, {gdal['objects']:,.0f} "
        f"| {ours['mib']:,.0f}, {gdal['mib']:,.0f} MiB |"
    )


if __name__ == "__main__":
    main()
