"""Measure how much faster prediction is with folded batch normalisation.

    python benchmarks/folding.py --size 400 --turns 8

Maps a synthetic 4-band GeoTIFF, from the file to a verified GeoJSON, with the network as
it was trained and folded, in turns within one process and on one thread, and prints a
Markdown table. Times are those of the processor, the least of the turns: what else the
machine does only adds to them. The ratio is that of folded to trained, the range that of
the turns' ratios; the difference is the largest of class probabilities.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is imported

import argparse
import tempfile
import time
from contextlib import AbstractContextManager
from pathlib import Path
from unittest.mock import patch

import torch
from predict import BANDS, BrightModel, make_image, write_map

from geoseg.model.file import Model

NETWORKS = (("vgg", 8), ("vgg", 16))


def as_trained() -> AbstractContextManager[object]:
    """Make models predict with the network as it was trained."""
    return patch.object(Model, "_predictor", property(lambda model: model.method))


def live(model: BrightModel) -> None:
    """Give the batch normalisations statistics like those of a trained network."""
    method = model.model.method.train()
    for _ in range(5):
        method.features(torch.rand(4, len(BANDS), 64, 64), torch.ones(4, 64, 64).bool())
    method.eval()


def seconds(options: argparse.Namespace, model: BrightModel, image: str) -> float:
    """Return the processor seconds of a map."""
    start = time.process_time()
    write_map(options, model, image)
    return time.process_time() - start


@torch.no_grad()
def difference(model: BrightModel) -> float:
    """Return the largest difference of class probabilities on random noise."""
    image, valid = torch.rand(2, len(BANDS), 256, 256), torch.ones(2, 256, 256).bool()
    found = model.model.class_probabilities(image, valid)
    with as_trained():
        expected = model.model.class_probabilities(image, valid)
    return float((found - expected).abs().max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=1000, help="side in pixels")
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument("--overlap", type=int, default=32)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    options.rasters = False
    torch.set_num_threads(1)
    print("| network | as trained | folded | ratio | range | difference |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image.tif"
        make_image(image, options.size, options.size)
        for trunk, width in NETWORKS:
            torch.manual_seed(0)
            model = BrightModel(width, trunk)
            live(model)
            write_map(options, model, str(image))  # what is loaded once is loaded
            plain, fast = [], []
            for _ in range(options.turns):
                with as_trained():
                    plain.append(seconds(options, model, str(image)))
                fast.append(seconds(options, model, str(image)))
            ratios = [b / a for a, b in zip(plain, fast, strict=True)]
            print(
                f"| {trunk}, width {width} | {min(plain):.2f} s "
                f"| {min(fast):.2f} s | {min(fast) / min(plain):.2f} "
                f"| {min(ratios):.2f} to {max(ratios):.2f} | {difference(model):.1e} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
