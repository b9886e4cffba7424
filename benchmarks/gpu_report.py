"""What ``gpu.py report`` measures: rates, shares of the time, scores with controls."""

import math
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from gpu_settings import Settings
from packed import Pack, PackedTile
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from geoseg.core.classes import BUILDING
from geoseg.core.patches import PatchBatch
from geoseg.methods import build_method
from geoseg.methods.bases.method import Method, StepContext
from geoseg.methods.losses.information import mutual_information
from geoseg.methods.networks.heads import softmax, upsample
from geoseg.model.decisions import Objective
from geoseg.model.matching import contingency_table, match_clusters
from geoseg.model.thresholds import (
    GRADES,
    class_matching,
    fold_grades,
    grade,
    graded_matching,
)
from geoseg.scores.metrics import PIXEL_METRICS, bootstrap_interval, to_json

SHOWN = ("iou", "f1", "precision", "recall", "accuracy", "majority_accuracy")


def seconds_of(work: Callable[[], object], device: str, repeats: int) -> float:
    """Return the median time of some work, until the device has finished it."""
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    found = []
    for _ in range(repeats + 2):  # two to warm up
        wait()
        start = time.perf_counter()
        work()
        wait()
        found.append(time.perf_counter() - start)
    return statistics.median(found[2:])


def speed(
    method: Method,
    settings: Settings,
    pack: Pack,
    pieces: list[dict[str, float]],
    *,
    matrix: int,
    repeats: int,
) -> dict[str, Any]:
    """Compare the training's pace with what the device's matrix units can do.

    Returns:
        ``device``; ``matrix_tflops``, measured; ``patch_gflop``, of the trunk, forward
        and backward, of both views; ``patches_per_second`` and ``trunk_tflops`` of the
        training, end to end; ``of_matrix_rate``, the latter over the former; seconds of
        a ``step`` and of its parts, each measured by itself.
    """
    device, batch_size = settings.device, settings.batch_size
    measure = partial(seconds_of, device=device, repeats=repeats)
    factors = torch.randn(2, matrix, matrix, device=device).to(settings.dtype)
    rate = 2 * matrix**3 / measure(lambda: factors[0] @ factors[1])
    loader = settings.loader(pack.training)
    batch = next(iter(loader.batches(0)))
    flop = trunk_flop(method, batch)
    timed = {
        key: sum(piece[key] for piece in pieces)
        for key in ("timed_steps", "timed_seconds")
    }
    pace = (
        batch_size * timed["timed_steps"] / timed["timed_seconds"]
        if timed["timed_seconds"]
        else None
    )
    parts = {
        name: measure(work)
        for name, work in step_parts(method, settings, batch).items()
    }
    batches = (batch for epoch in range(10**9) for batch in loader.batches(epoch))
    parts["loader"] = measure(lambda: next(batches))
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "matrix_tflops": rate / 1e12,
        "patch_gflop": flop / batch_size / 1e9,
        "patches_per_second": pace,
        "trunk_tflops": pace and pace * flop / batch_size / 1e12,
        "of_matrix_rate": pace and pace * flop / batch_size / rate,
        **{f"{name}_seconds": seconds for name, seconds in parts.items()},
    }


def trunk_flop(method: Method, batch: PatchBatch) -> float:
    """Count a step's operations in the trunk: forward and backward, of two views."""
    method.train()
    with FlopCounterMode(display=False) as counter:
        method.features(batch.image, batch.valid).sum().backward()
    method.zero_grad()
    return 2.0 * counter.get_total_flops()


def step_parts(
    method: Method, settings: Settings, batch: PatchBatch
) -> dict[str, Callable[[], None]]:
    """Return what a step does, and its trunk and its loss (with the head) alone."""
    autocast = partial(
        torch.autocast,
        settings.device,
        torch.bfloat16,
        enabled=settings.precision == "bf16-mixed",
    )
    optimizer = method.configure_optimizer()
    method.train()
    head = method.get_submodule(method.default_head)
    half_width = int(method.half_width)
    with torch.no_grad(), autocast():
        features = method.features(batch.image, batch.valid)
    size = (settings.patch_size, settings.patch_size)

    def step() -> None:
        optimizer.zero_grad()
        with autocast():
            loss = method.training_step(batch, StepContext(0, 0, settings.seed)).loss
        loss.backward()
        optimizer.step()

    def trunk() -> None:
        with autocast():
            found = [method.features(batch.image, batch.valid) for _ in range(2)]
        torch.autograd.backward([f.sum() for f in found])

    def loss() -> None:
        leaves = [features.detach().requires_grad_() for _ in range(2)]
        with autocast():
            maps = [softmax(upsample(head(leaf, 0), size)) for leaf in leaves]
            found = mutual_information(
                maps[0], maps[1], batch.valid, half_width=half_width
            )
        found.loss.backward()

    return {"step": step, "trunk": trunk, "loss": loss}


def scores(
    method: Method, settings: Settings, pack: Pack, *, objective: Objective
) -> list[dict[str, Any]]:
    """Match and score the heads and their controls on each source's own test tiles.

    The controls see the patches of that source alone; the network has seen all sources.
    """
    rows = []
    for source in pack.card["sources"]:
        match, test = (pack.select(role, source=source) for role in ("match", "test"))
        if not match or not test:
            continue
        training = [tile for tile in pack.training if tile.source == source]
        entries = [
            (f"iic ({name}, K={k})", method, name) for name, k in method.heads.items()
        ]
        entries += controls(method, settings, training)
        for name, model, head in entries:
            found = score_head(model, pack, source, head=head, objective=objective)
            rows.append({"source": source, "name": name, "tiles": len(test), **found})
    return rows


def score_head(
    method: Method,
    pack: Pack,
    source: str,
    *,
    head: str | None = None,
    objective: Objective,
) -> dict[str, list[float | None]]:
    """Match a head, unless it tells classes, and score it on a source's test tiles.

    Returns:
        Metric → its value and the ends of its interval.
    """
    name = head or method.default_head
    graded = name == method.class_head and objective == "f1"
    match, test = (
        tile_tables(method, pack.select(role, source=source), name, graded=graded)
        for role in ("match", "test")
    )
    if graded:
        matching = graded_matching(match)
        test = fold_grades(test, matching.threshold)
    elif name == method.class_head:
        matching = class_matching(match)
    else:
        matching = match_clusters(match, objective=objective)
    confusions = matching.confusion(test)
    intervals = {
        key: bootstrap_interval(confusions, PIXEL_METRICS[key]) for key in SHOWN
    }
    return {key: [to_json(n) for n in found] for key, found in intervals.items()}


def controls(
    method: Method, settings: Settings, tiles: list[PackedTile]
) -> list[tuple[str, Method, str]]:
    """Fit colour k-means and an untrained network with as many clusters."""
    clusters = method.heads[method.default_head]
    width = settings.parameters["width"]
    loader = settings.loader(tiles)
    found = []
    for name, key, parameters in (
        ("colour k-means", "color_kmeans", {}),
        ("untrained network", "random_trunk", {"width": width}),
    ):
        control = build_method(
            key,
            method.in_channels,
            {"clusters": clusters, **parameters},
            seed=settings.seed,
        ).to(settings.device)
        control.finish(partial(loader.batches, 0))
        found.append((f"{name} (K={clusters})", control, control.default_head))
    return found


@torch.no_grad()
def tile_tables(
    method: Method, tiles: list[PackedTile], head: str, *, graded: bool
) -> Tensor:
    """Count clusters, or grades, on classes: (T, K, 2); each tile is predicted whole."""
    method.eval()
    tables = []
    for tile in tiles:
        found = method.predict(tile.image[None], tile.valid[None], head)
        tables.append(
            contingency_table(
                (grade(found[:, BUILDING]) if graded else found.argmax(1))[0],
                tile.mask,
                num_clusters=GRADES if graded else method.heads[head],
                num_classes=2,
            )
        )
    return torch.stack(tables).cpu()


def markdown(found: dict[str, Any]) -> str:
    """Return a report as tables."""
    pace, settings = found["speed"], found["settings"]
    step = pace["step_seconds"]
    parts = ("trunk", "loss", "loader")
    shares = [f"{name} {pace[f'{name}_seconds'] / step:.1%}" for name in parts]
    steps = int(sum(piece["steps"] for piece in found["pieces"]))
    lines = [
        f"{pace['device']}, {settings['precision']}, {steps} steps of "
        f"{settings['batch_size']} × {settings['patch_size']}², "
        f"{len(found['pieces'])} pieces, parameters {settings['parameters']}",
        "",
        "| patches/s | GFLOP a patch | trunk TFLOP/s | matrix TFLOP/s | ratio "
        "| step (s) | shares of a step |",
        "|---:|---:|---:|---:|---:|---:|---|",
        f"| {_number(pace['patches_per_second'])} | {pace['patch_gflop']:.3g} "
        f"| {_number(pace['trunk_tflops'])} | {pace['matrix_tflops']:.3g} "
        f"| {_number(pace['of_matrix_rate'])} | {step:.3g} | {', '.join(shares)} |",
        "",
        "| source | | " + " | ".join(SHOWN).replace("_", " ") + " |",
        "|---|---|" + "---:|" * len(SHOWN),
    ]
    for row in found["scores"]:
        value, low, high = row["iou"]
        cells = [f"{_number(value)} [{_number(low)}, {_number(high)}]"]
        cells += [_number(row[key][0]) for key in SHOWN[1:]]
        lines.append(f"| {row['source']} | {row['name']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.3f}"
