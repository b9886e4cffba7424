"""Measure the memory of mapping a raster of 40,000 × 40,000 pixels; the goal is 2 GiB.

    python benchmarks/large.py --size 10000
    python benchmarks/large.py                # half an hour and more

Makes a 3-band uint8 GeoTIFF (tiled, DEFLATE, sparse) by repeating the sample tiles, which
leave 70 % of it without data; trains a network of width 8 on them for a few steps, unless
``--model`` names one; and runs ``geoseg predict`` on one thread, with footprints and both
rasters. Prints the peak of the resident memory of that process. Goal: below 2 GiB.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.windows import Window

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "sample_tiles" / "AOI_0_Sample_Train"
#: Red, green and blue of the sample's eight bands.
BANDS = (5, 3, 2)
#: Of squares of this side, three in ten have data.
SQUARE = 2048
BLOCK = 512
GOAL_GIB = 2.0


def sample_tiles() -> list[Path]:
    """Return the files of the sample tiles."""
    return sorted((SAMPLE / "MUL-PanSharpen").glob("*.tif"))


def to_bytes(pixels: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint8]:
    """Scale ``(bands, H, W)`` to 1 to 255; 0 is no data."""
    return np.clip(pixels / 8, 1, 255).astype(np.uint8)


def write_tiles(folder: Path) -> None:
    """Write the sample tiles with three bands of bytes."""
    for path in sample_tiles():
        with rasterio.open(path) as tile:
            profile = tile.profile | {"dtype": "uint8", "count": 3, "nodata": 0}
            with rasterio.open(folder / path.name, "w", **profile) as dataset:
                dataset.write(to_bytes(tile.read(BANDS)))


def train(folder: Path) -> Path:
    """Train a network of width 8 for a few steps; return its run."""
    tiles = folder / "tiles"
    tiles.mkdir()
    write_tiles(tiles)
    words = ["train", "--images", tiles, "--labels", SAMPLE / "geojson" / "buildings"]
    words += ["--method", "supervised", "-p", "width=8", "--patch-size", "96"]
    words += ["--max-steps", "60", "--no-controls", "-o", folder / "run"]
    run_geoseg(words)
    return folder / "run"


def make_raster(path: Path, size: int) -> None:
    """Write the raster, a row of squares at a time; what has no data is not written."""
    tiles = []
    for tile in sample_tiles():
        with rasterio.open(tile) as dataset:
            tiles.append(to_bytes(dataset.read(BANDS)))
    across = SQUARE // tiles[0].shape[1]
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "nodata": 0}
    profile |= {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK}
    profile |= {"compress": "deflate", "interleave": "pixel", "sparse_ok": True}
    transform = rasterio.transform.from_origin(600000, 4000000, 0.3, 0.3)
    rng = np.random.default_rng(0)
    with rasterio.open(
        path,
        "w",
        width=size,
        height=size,
        crs="EPSG:32611",
        transform=transform,
        bigtiff="if_safer",
        photometric="rgb",
        **profile,
    ) as dataset:
        for row in range(0, size, SQUARE):
            for column in range(0, size, SQUARE):
                if (3 * (row // SQUARE) + column // SQUARE) % 10 >= 3:
                    continue
                chosen = rng.integers(0, len(tiles), (across, across))
                square = np.block([[tiles[i] for i in line] for line in chosen])
                window = Window(
                    column, row, min(SQUARE, size - column), min(SQUARE, size - row)
                )
                dataset.write(square[:, : window.height, : window.width], window=window)


def run_geoseg(words: list[str | Path]) -> tuple[float, float]:
    """Run geoseg on one thread; return the GiB it took at most, and the seconds."""
    command = [sys.executable, "-m", "geoseg", *map(str, words), "--threads", "1"]
    environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}
    start = time.perf_counter()
    process = subprocess.Popen(command, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return usage.ru_maxrss / 2**20, time.perf_counter() - start


def main() -> None:
    """Make the raster and the model; measure; print a line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--size", type=int, default=40_000, help="side in pixels")
    parser.add_argument(
        "--model", type=Path, help="of three bands; else one is trained"
    )
    parser.add_argument("--folder", help="for the files; default: a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        model = options.model or train(folder)
        make_raster(folder / "image.tif", options.size)
        words = ["predict", folder / "image.tif", "--model", model]
        words += ["-o", folder / "map.gpkg", "--raster", folder / "classes.tif"]
        gib, seconds = run_geoseg([*words, "--probability", folder / "probability.tif"])
        print(
            f"{options.size:,} × {options.size:,}: {gib:.2f} GiB at most "
            f"(< {GOAL_GIB:g}), {seconds:.0f} s"
        )
    sys.exit(gib >= GOAL_GIB)


if __name__ == "__main__":
    main()
