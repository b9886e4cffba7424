"""Carry out one run of a benchmark and measure it."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.core.aside import own_folder
from geoseg.core.classes import BACKGROUND
from geoseg.core.errors import TrainingError
from geoseg.core.outputs import write_aside
from geoseg.core.patches import Epoch
from geoseg.core.progress import say_stage
from geoseg.core.run_files import SCORES_NAME, SETTINGS_NAME
from geoseg.geo.evaluation.matching import contingency_tables
from geoseg.geo.predict.regions import class_strip
from geoseg.geo.rasters import raster
from geoseg.geo.tiles.roles import Split
from geoseg.geo.tiles.tiles import Tile
from geoseg.model.file import Model
from geoseg.runs import train as runs
from geoseg.runs.folders import write_json
from geoseg.runs.reporting.k_curve import k_curves
from geoseg.runs.reporting.label_efficiency import SIZES, label_efficiency
from geoseg.runs.reporting.survey import evenly, shown_part
from geoseg.runs.resuming import read_run
from geoseg.runs.settings import RunSettings
from geoseg.runs.tiles.run_roles import split_of_run
from geoseg.runs.tiles.run_tiles import loader_of, patch_tiles, tiles_of
from geoseg.scores.metrics import Metric, iou, mean_iou, to_json

#: Additional files of a run: numbers, counts by tile, maps of some tiles.
TRIAL_NAME, COUNTS_NAME, MAPS_NAME = "trial.json", "counts.npz", "maps.npz"
#: File in place of a run whose labelled tiles show only one class.
BLIND_NAME = "blind.json"
#: Most test tiles that are shown.
SHOWN = 4
#: Random draws of matching tiles for each number of them.
DRAWS = 100


class Order(NamedTuple):
    """The task of a process: a run and its measurements."""

    settings: RunSettings
    folder: Path
    label_tiles: Sequence[int] = ()
    clusters: Sequence[int] = ()
    threads: int | None = None


def carry_out(order: Order) -> None:
    """Train, match, score and measure a run, or resume it.

    Raises:
        TrainingError: If a signal ended the training early.
        GeosegError: As :func:`geoseg.runs.train.start` and :func:`geoseg.runs.train.resume`.
    """
    if order.threads is not None:
        torch.set_num_threads(order.threads)
    folder = order.folder
    if (folder / SETTINGS_NAME).exists():
        here = order.settings
        result = runs.resume(folder, images=here.images, labels=here.labels)
    else:
        own_folder(folder.parent)
        for left in own_folder(folder).glob(".*"):  # left by a killed process
            if left.name == ".lock" or left.suffix == ".aside":
                left.unlink()
        result = runs.start(order.settings, folder)
    if result.interrupted:
        raise TrainingError("the training was stopped early: start the benchmark again")
    if not (folder / SCORES_NAME).exists():
        raise TrainingError(
            f"{folder} has no scores: its clusters could not be matched"
        )
    peaks = {"memory": peak_memory(), "gpu_memory": peak_gpu_memory()}
    say_stage("measuring")
    _measure(order, result.model, result.collapse, peaks)


def _measure(
    order: Order, model: Model, collapse: str | None, peaks: dict[str, int | None]
) -> None:
    folder, settings = order.folder, order.settings
    split = split_of_run(read_run(folder).roles, settings, tiles_of(settings))
    head = model.card.head
    matching, test = (
        contingency_tables(model, tiles, [head])[head].numpy()
        for tiles in (split.match, split.test)
    )
    with write_aside(
        folder / COUNTS_NAME, verify=_readable, overwrite=True
    ) as temporary:
        np.savez_compressed(temporary, matching=matching, test=test)
    draw_maps(folder / MAPS_NAME, model, split, test)
    card = model.card
    write_json(
        folder / TRIAL_NAME,
        {
            **peaks,
            "collapse": collapse,
            "steps": card.provenance.get("steps", 0),
            "weights": sum(p.numel() for p in model.method.parameters()),
            "trunk": card.parameters.get("trunk"),
            "width": card.parameters.get("width"),
            "clusters": model.method.heads[head],
            "gradient": model.method.gradient,
            "labelled": len(split.match),
            "learns_from_labels": model.method.uses_labels,
            "torch_threads": torch.get_num_threads(),
            "device": device_name(settings.device),
            "labels": _label_points(order, model, matching, test),
            "k": _k_points(order, model, split),
        },
    )


def _label_points(
    order: Order, model: Model, matching: NDArray[Any], test: NDArray[Any]
) -> list[dict[str, Any]]:
    """Return scores with fewer labelled tiles, if labels are only used to match."""
    if model.method.uses_labels or not len(matching):
        return []
    points = label_efficiency(
        matching,
        test,
        objective=model.card.matchings[model.card.head].objective,
        sizes=order.label_tiles or SIZES,
        draws=DRAWS,
        seed=order.settings.seed,
        metric=_measure_of(model),
    )
    return [
        {k: to_json(v) if isinstance(v, float) else v for k, v in p._asdict().items()}
        for p in points
    ]


def _measure_of(model: Model) -> Metric:
    return iou if len(model.card.class_names) == 2 else mean_iou


def _k_points(order: Order, model: Model, split: Split) -> list[dict[str, Any]]:
    """Return scores of k-means of the features for several K, if requested."""
    if not order.clusters or not model.method.has_features:
        return []
    settings, normalization = order.settings, model.card.normalization
    loader = loader_of(settings, patch_tiles(settings.method, split), normalization)
    features, *_ = k_curves(
        model,
        split.match,
        split.test,
        Epoch(loader.thinned()),
        objective=settings.objective,
        seed=settings.seed,
        clusters=order.clusters,
        metric=_measure_of(model),
    )
    return [
        {"clusters": int(k), "value": to_json(value)}
        for k, value in zip(features.x, features.y, strict=True)
    ]


def draw_maps(path: Path, model: Model, split: Split, test: NDArray[Any]) -> None:
    """Store the maps of some test tiles, the same for every run of a split."""
    maps: dict[str, Any] = {}
    for tile in shown_tiles(split.test, test):
        grid = raster.describe(tile.image)
        part = shown_part(tile, grid).extent(grid)
        maps[tile.id] = class_strip(model, grid, part).classes
    with write_aside(path, verify=_readable, overwrite=True) as temporary:
        np.savez_compressed(temporary, **maps)


def shown_tiles(test: Sequence[Tile], tables: NDArray[Any]) -> list[Tile]:
    """Return evenly chosen test tiles that hold more than background.

    Args:
        test: The tiles.
        tables: ``(T, K, C)`` counts on them.
    """
    others = np.delete(tables.sum(1), BACKGROUND, axis=1).sum(1)
    holding = [tile for tile, count in zip(test, others, strict=True) if count]
    return evenly(holding or test, SHOWN)


def _readable(path: Path) -> None:
    with np.load(path) as stored:
        for name in stored.files:
            stored[name]


def peak_memory() -> int | None:
    """Return the peak memory of this process in bytes, or None if unknown.

    It comes from ``/proc``: on Linux ``ru_maxrss`` of a child starts with its parent's
    value.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return None


def peak_gpu_memory() -> int | None:
    """Return torch's peak GPU memory in bytes, or None without a GPU."""
    if not torch.cuda.is_available():
        return None
    return int(torch.cuda.max_memory_allocated()) or None


def device_name(device: str) -> str:
    """Return the name of the GPU, or the CPU with its number of cores."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    return f"CPU, {os.cpu_count()} cores"
