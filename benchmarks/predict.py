"""Measure the time and memory of prediction beside the bare network.

    python benchmarks/predict.py            # 10,000² and 10,000 × 20,000: about an hour
    python benchmarks/predict.py --size 4000 --width 16 --turns 3 --once

Makes a synthetic 4-band uint16 GeoTIFF (bright buildings on noise), measures the bare
network on as many windows in the same batches (upsampling, softmax and folding
included), then everything from the GeoTIFF to a verified GeoJSON, in turns and each in a
process of its own, and prints a Markdown table of medians. Times are those of the
processor, of all threads: others may be at work beside it. Its floor is what the
multiplications and additions of the network alone would take at the rate of a large
matrix product. Goals: ratio at most 1.10; peak memory below 2 GiB, and within 10 % for
twice the height.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from geoseg.core.normalization import Normalization
from geoseg.methods import build_method
from geoseg.model.card import ModelCard
from geoseg.model.file import Model
from geoseg.model.matching import match_clusters

BANDS = ("red", "green", "blue", "nir")
BLOCK = 512
CLUSTERS = 24
GOAL_RATIO = 1.10
GOAL_GIB = 2.0


class BrightModel:
    """A real IIC model, at its real cost, whose buildings are the bright pixels."""

    def __init__(self, width: int, trunk: str = "vgg") -> None:
        count = len(BANDS)
        parameters = {"trunk": trunk, "width": width}
        method = build_method("iic", count, parameters).eval()
        tables = torch.eye(2).repeat(CLUSTERS // 2, 1).long()[None]
        self.model = Model(
            method.requires_grad_(False),
            ModelCard(
                method="iic",
                parameters=parameters,
                normalization=Normalization(
                    BANDS, (0.0,) * count, (1000.0,) * count, (0.5,) * count
                ),
                head="over",
                matchings={"over": match_clusters(tables)},
            ),
        )
        self.card = self.model.card
        self.seconds = 0.0

    def class_probabilities(self, image: Tensor, valid: Tensor) -> Tensor:
        """Class probabilities of the network, then those of the bright pixels."""
        start = time.thread_time()
        classes = self.model.class_probabilities(image, valid)
        bright = (image[:, 0] > 0.6).float()
        classes[:, 1].mul_(0.2).add_(bright, alpha=0.8)
        classes[:, 0] = 1 - classes[:, 1]
        self.seconds += time.thread_time() - start
        return classes


def make_image(path: Path, height: int, width: int) -> None:
    """Write a raster by repeating a block with twelve buildings, each time shifted."""
    import rasterio
    from rasterio.transform import from_origin
    from rasterio.windows import Window

    rng = np.random.default_rng(0)
    block = rng.integers(50, 500, (4, BLOCK, BLOCK)).astype(np.uint16)
    for _ in range(12):
        row, column = rng.integers(0, BLOCK - 60, 2)
        tall, wide = rng.integers(15, 60, 2)
        block[:, row : row + tall, column : column + wide] = 800
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=width,
        height=height,
        count=4,
        dtype="uint16",
        crs="EPSG:32611",
        transform=from_origin(600000, 4000000, 0.5, 0.5),
        tiled=True,
        blockxsize=BLOCK,
        blockysize=BLOCK,
    ) as dataset:
        repeated = np.tile(block, (1, 1, width // BLOCK + 1))[:, :, :width]
        for number, row in enumerate(range(0, height, BLOCK)):
            rows = min(BLOCK, height - row)
            shifted = np.roll(repeated, 37 * number, axis=2)[:, :rows]
            dataset.write(shifted, window=Window(0, row, width, rows))


def run_bare(options: argparse.Namespace, height: int, width: int) -> dict[str, float]:
    """Time the network alone on as many batches."""
    from geoseg.geo.predict.windows import window_starts

    model = BrightModel(options.width)
    sides = [window_starts(n, options.window, options.overlap) for n in (height, width)]
    windows = len(sides[0]) * len(sides[1])
    shape = (options.batch, len(BANDS), options.window, options.window)
    image, valid = torch.rand(shape), torch.ones(shape[0], *shape[2:]).bool()
    start = time.process_time()
    with torch.no_grad():
        for _ in range(-(-windows // options.batch)):
            model.class_probabilities(image, valid)
    seconds = time.process_time() - start
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.class_probabilities(image, valid)
    floor = counter.get_total_flops() / options.batch * windows / matmul_rate()
    return {"seconds": seconds, "windows": windows, "floor": floor}


def matmul_rate(side: int = 1024, seconds: float = 1.0) -> float:
    """Measure the floating point operations a second of a product of matrices."""
    left, right = torch.rand(side, side), torch.rand(side, side)
    torch.mm(left, right)
    count, start = 0, time.process_time()
    while (passed := time.process_time() - start) < seconds:
        torch.mm(left, right)
        count += 1
    return 2 * side**3 * count / passed


def run_predict(options: argparse.Namespace, image: str) -> dict[str, float]:
    """Time everything from the GeoTIFF to the verified GeoJSON."""
    model = BrightModel(options.width)
    start = time.process_time()
    count = write_map(options, model, image)
    return {
        "seconds": time.process_time() - start,
        "footprints": count,
        "inside": model.seconds,
        "gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def write_map(options: argparse.Namespace, model: BrightModel, image: str) -> int:
    """Map an image beside itself; return how many footprints there are."""
    from geoseg.geo.footprints.vectorize import footprints
    from geoseg.geo.formats.writer import write_footprints
    from geoseg.geo.maps.rasters import predict_raster
    from geoseg.geo.rasters.raster import describe

    grid = describe(image)
    folder = Path(image).parent
    strips = predict_raster(
        model,
        image,
        classes=folder / "classes.tif" if options.rasters else None,
        probability=folder / "probability.tif" if options.rasters else None,
        overwrite=True,
        window=options.window,
        overlap=options.overlap,
        batch_size=options.batch,
    )
    found = footprints(strips, grid, class_names=model.card.class_names)
    return write_footprints(
        folder / "buildings.geojson", found, crs=grid.crs, overwrite=True
    )


def in_process(arguments: list[str], *work: str) -> dict[str, float]:
    """Run this file again for one measurement."""
    command = [sys.executable, __file__, *arguments, "--work", *work]
    # Idle threads must not spin, others may need the cores.
    environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env=environment
    )
    result: dict[str, float] = json.loads(done.stdout)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=10000, help="side in pixels")
    parser.add_argument("--width", type=int, default=8, help="width of the vgg trunk")
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument("--overlap", type=int, default=32)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--once", action="store_true", help="not twice the height too")
    parser.add_argument("--rasters", action="store_true", help="write rasters too")
    parser.add_argument("--work", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        kind, *rest = options.work
        result = (
            run_bare(options, int(rest[0]), int(rest[1]))
            if kind == "bare"
            else run_predict(options, rest[0])
        )
        print(json.dumps(result))
        return
    print(
        "| raster | windows | floor | bare network | end to end | ratio | in the network "
        "| footprints | peak memory |\n|---|---|---|---|---|---|---|---|---|"
    )
    peaks = []
    for height in (options.size,) if options.once else (options.size, 2 * options.size):
        with tempfile.TemporaryDirectory() as folder:
            image = Path(folder) / "image.tif"
            make_image(image, height, options.size)
            kinds = ("bare", str(height), str(options.size)), ("predict", str(image))
            turns = [
                [in_process(sys.argv[1:], *kind) for kind in kinds]
                for _ in range(options.turns)
            ]
        peaks.append(turns[0][1]["gib"])
        print(row_of(f"{options.size:,} × {height:,}", turns), flush=True)
    if not options.once:
        print(
            f"\nTwice the height takes {peaks[1] / peaks[0] - 1:+.1%} memory (≤ 10 %)."
        )


def row_of(name: str, turns: list[list[dict[str, float]]]) -> str:
    """Return a row of the table; a turn is the bare network, then everything."""
    bare, full = (
        {key: statistics.median(turn[i][key] for turn in turns) for key in turns[0][i]}
        for i in (0, 1)
    )
    ratio = statistics.median(one["seconds"] / net["seconds"] for net, one in turns)
    return (
        f"| {name} | {bare['windows']:,.0f} | {bare['floor']:.1f} s "
        f"| {bare['seconds']:.1f} s | {full['seconds']:.1f} s "
        f"| {ratio:.3f} (≤ {GOAL_RATIO}) | {full['inside'] / full['seconds']:.1%} "
        f"| {full['footprints']:,.0f} | {full['gib']:.2f} GiB (< {GOAL_GIB:g}) |"
    )


if __name__ == "__main__":
    main()
