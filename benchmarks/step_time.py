"""Time a two-view IIC step by trunk, width, crop and batch.

Run ``python benchmarks/step_time.py``; it prints a Markdown table. A step is two
forward passes, the mutual information of one head (K = 24, T = 10), backward and Adam,
on the threads that torch takes (``OMP_NUM_THREADS``). The least of the repeats
after one step for warming up. About 90 seconds; ``--batches 4 8 16`` for more.
"""

# flake8: noqa: E402

import argparse
import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch starts its threads

import time

import torch
from torch import nn

from geoseg.methods.losses.information import mutual_information
from geoseg.methods.networks import build_trunk
from geoseg.methods.networks.heads import PixelHead, upsample

TRUNKS = (
    ("vgg", 8),
    ("vgg", 16),
    ("vgg", 32),
    ("fpn", 16),
    ("fpn", 32),
    ("unet", 16),
    ("unet", 32),
)


def step_seconds(
    name: str, width: int, crop: int, batch: int, *, repeats: int, device: str
) -> float:
    """Return the seconds of one training step."""
    torch.manual_seed(0)
    trunk = build_trunk(name, 4, width=width)
    network = nn.ModuleList([trunk, PixelHead(trunk.out_channels, 24)]).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    views = torch.rand(2, batch, 4, crop, crop, device=device)
    valid = torch.ones(batch, crop, crop, dtype=torch.bool, device=device)
    seconds = []
    for _ in range(1 + repeats):
        start = time.perf_counter()
        maps = []
        for view in views:
            logits = network[1](network[0](view))
            maps.append(upsample(logits, (crop, crop)).softmax(1))
        loss = mutual_information(maps[0], maps[1], valid).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()  # waits for the device
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def main() -> None:
    """Print seconds per step, one row per trunk and width."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--crops", type=int, nargs="+", default=[64, 96, 128])
    parser.add_argument("--batches", type=int, nargs="+", default=[4])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    cases = [(crop, batch) for crop in options.crops for batch in options.batches]
    print(f"Seconds per step on {options.device}, {torch.get_num_threads()} threads\n")
    print("| trunk | width |", " | ".join(f"{b}×{c}²" for c, b in cases), "|")
    print("|---" * (2 + len(cases)) + "|")
    for name, width in TRUNKS:
        row = [
            step_seconds(
                name,
                width,
                crop,
                batch,
                repeats=options.repeats,
                device=options.device,
            )
            for crop, batch in cases
        ]
        cells = " | ".join(f"{seconds:.2f}" for seconds in row)
        print(f"| {name} | {width} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
