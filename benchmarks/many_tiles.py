"""Profile a training on as many tiles as a city of SpaceNet has.

    python benchmarks/many_tiles.py FOLDER --tiles 400
    python benchmarks/many_tiles.py FOLDER            # 3,850 tiles: about half an hour

Writes 3,850 tiles of 650² with four bands and as many label masks: VRTs, each a window of
one of four mosaics of the sample tiles, at a place of its own. Then it runs ``geoseg train
--method iic --max-steps 20`` with controls, and prints the seconds by stage and the peak
of the resident memory.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.transform import from_origin
from rasterio.windows import Window

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "sample_tiles" / "AOI_0_Sample_Train"
#: Red, green, blue and near infrared of the sample's eight bands.
BANDS = (5, 3, 2, 7)
#: Value of buildings in the masks of the sample.
BUILDING = 1
SIDE = 650
MOSAICS, MOSAIC_SIDE = 4, 2560
GSD = 0.3
GRID = {"driver": "GTiff", "tiled": True, "blockxsize": 256, "blockysize": 256}


def sample_files(kind: str) -> list[Path]:
    """Return the files of the sample tiles or of their masks, in one order."""
    return sorted((SAMPLE / kind).glob("*.tif"))


def write_mosaics(folder: Path) -> None:
    """Write four mosaics of the sample tiles in different orders, and their masks."""
    pairs = list(
        zip(sample_files("MUL-PanSharpen"), sample_files("masks"), strict=True)
    )
    for number in range(MOSAICS):
        random = np.random.default_rng(number)
        image = np.zeros((len(BANDS), MOSAIC_SIDE, MOSAIC_SIDE), np.uint16)
        mask = np.zeros((1, MOSAIC_SIDE, MOSAIC_SIDE), np.uint8)
        for row in range(0, MOSAIC_SIDE, 256):
            for column in range(0, MOSAIC_SIDE, 256):
                place = slice(row, row + 256), slice(column, column + 256)
                tile, labels = pairs[random.integers(len(pairs))]
                image[:, *place] = _read(tile, BANDS)
                mask[:, *place] = _read(labels, (1,)) == BUILDING
        _write(folder / f"image{number}.tif", image)
        _write(folder / f"mask{number}.tif", mask)


def _read(path: Path, bands: tuple[int, ...]) -> npt.NDArray[np.generic]:
    with rasterio.open(path) as dataset:
        found = dataset.read(bands, window=Window(0, 0, 256, 256), boundless=True)
    return np.asarray(found)


def _write(path: Path, pixels: npt.NDArray[np.generic]) -> None:
    count, height, width = pixels.shape
    profile = GRID | {"count": count, "dtype": pixels.dtype, "compress": "deflate"}
    transform = from_origin(600000, 4000000, GSD, GSD)
    with rasterio.open(
        *(path, "w"),
        height=height,
        width=width,
        crs="EPSG:32611",
        transform=transform,
        **profile,
    ) as dataset:
        dataset.write(pixels)


def write_tiles(folder: Path, count: int) -> None:
    """Write the tiles and masks, side by side on the ground in a square."""
    across = int(np.ceil(np.sqrt(count)))
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for number in range(count):
        random = np.random.default_rng([1, number])
        left, top = random.integers(0, MOSAIC_SIDE - SIDE, 2).tolist()
        row, column = divmod(number, across)
        place = 600000 + column * SIDE * GSD, 4000000 - row * SIDE * GSD
        for kind, name, bands, dtype in (
            ("images", "image", len(BANDS), "UInt16"),
            ("masks", "mask", 1, "Byte"),
        ):
            source = f"../{name}{number % MOSAICS}.tif"
            text = _vrt(source, bands, dtype, (left, top), place)
            (folder / kind / f"img{number}.vrt").write_text(text)


def _vrt(
    source: str,
    bands: int,
    dtype: str,
    corner: tuple[int, int],
    place: tuple[float, float],
) -> str:
    """Return a VRT of one window of a file, at another place."""
    sides = f'xSize="{SIDE}" ySize="{SIDE}"'
    size = f'rasterXSize="{SIDE}" rasterYSize="{SIDE}"'
    window = f'<SrcRect xOff="{corner[0]}" yOff="{corner[1]}" {sides}/>'
    parts = "".join(
        f'<VRTRasterBand dataType="{dtype}" band="{band}"><SimpleSource>'
        f'<SourceFilename relativeToVRT="1">{source}</SourceFilename>'
        f"<SourceBand>{band}</SourceBand>{window}"
        f'<DstRect xOff="0" yOff="0" {sides}/></SimpleSource></VRTRasterBand>'
        for band in range(1, bands + 1)
    )
    return (
        f"<VRTDataset {size}><SRS>EPSG:32611</SRS><GeoTransform>"
        f"{place[0]}, {GSD}, 0, {place[1]}, 0, -{GSD}</GeoTransform>{parts}</VRTDataset>"
    )


def train(folder: Path, *more: str) -> None:
    """Run the training and print what it took."""
    words = ["train", "--images", folder / "images", "--labels", folder / "masks"]
    words += ["--method", "iic", "--max-steps", "20", "-o", folder / "run", *more]
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "geoseg", *map(str, words)])
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    if status:
        sys.exit("geoseg train failed")
    for stage, spent in json.loads((folder / "run" / "times.json").read_text()).items():
        print(f"{stage:<12}{spent:9.1f} s")
    print(
        f"{'all':<12}{seconds:9.1f} s, {usage.ru_utime + usage.ru_stime:.1f} s of CPU"
    )
    print(f"peak of the memory: {usage.ru_maxrss / 2**20:.2f} GiB")


def main() -> None:
    """Write the tiles if they are not there, and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tiles", type=int, default=3850)
    parser.add_argument("options", nargs="*", help="of geoseg train, after --")
    options = parser.parse_args()
    if not options.folder.exists():
        options.folder.mkdir(parents=True)
        write_mosaics(options.folder)
        write_tiles(options.folder, options.tiles)
    train(options.folder, *options.options)


if __name__ == "__main__":
    main()
