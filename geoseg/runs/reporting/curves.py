"""Curves of a report over steps, numbers of clusters and numbers of labelled tiles."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from geoseg.core.run_files import AREAS_NAME, METRICS_NAME
from geoseg.core.words import counted
from geoseg.report.contents import Areas, Curve
from geoseg.report.figures import series
from geoseg.runs.reporting.k_curve import MOST_TILES, k_curves
from geoseg.runs.reporting.label_efficiency import label_efficiency
from geoseg.runs.reporting.material import Material
from geoseg.scores.comparison import main_key
from geoseg.scores.metrics import PIXEL_METRICS
from geoseg.training.step_tables import WORDS, read_step_table

#: Logged numbers that are shown first.
FIRST = ("loss", "entropy", "confidence", "lr")
#: Random draws of matching tiles per number of tiles.
DRAWS = 100


def training_curves(material: Material, absent: dict[str, str]) -> list[Curve]:
    """Return a curve for each logged number in a run's ``metrics.csv``."""
    logged = series(_rows(material.run, METRICS_NAME), "step")
    model = material.model
    if not logged and model is not None and model.method.gradient:
        absent["training"] = (
            "There is no training log, as the model lies outside its run folder."
        )
    if logged.get("loss_at_one") == logged.get("loss"):
        logged.pop("loss_at_one", None)
    if len(set(logged.get("lr", ([], []))[1])) == 1:
        logged.pop("lr")  # a rate that never changes is in the run card
    names = [*(n for n in FIRST if n in logged), *(n for n in logged if n not in FIRST)]
    return [Curve(name, *logged[name]) for name in names]


def training_note(run: Path | None, areas: Sequence[Areas]) -> str:
    """Return a note on how to read the curves of a training."""
    notes = []
    if "loss_at_one" in series(_rows(run, METRICS_NAME), "step"):
        notes.append(
            "The loss is minus the information that two views of a place share: the "
            "further below zero, the better."
        )
    if in_turn(areas):
        notes.append(
            "The heads were trained in turn: the curves jump from one to the next."
        )
    return " ".join(notes)


def area_curves(run: Path | None, absent: dict[str, str]) -> list[Areas]:
    """Return the shares of each head's clusters by step, from a run's ``areas.csv``."""
    by_head: dict[str, list[tuple[float, list[float]]]] = {}
    for row in _rows(run, AREAS_NAME, WORDS):
        shares = [float(v) for k, v in row.items() if k.startswith("area_") and v]
        if shares and row.get("step") and row.get("head"):
            by_head.setdefault(row["head"], []).append((float(row["step"]), shares))
    curves = []
    for head, rows in by_head.items():
        clusters = len(rows[0][1])
        whole = [(step, _unit(s)) for step, s in rows if len(s) == clusters]
        curves.append(Areas(head, [step for step, _ in whole], [s for _, s in whole]))
    if not curves:
        absent["areas"] = "The areas of the clusters were not logged."
    return curves


def in_turn(areas: Sequence[Areas]) -> bool:
    """Return whether several heads were trained in alternating steps."""
    steps = [step for one in areas for step in one.steps]
    return len(areas) > 1 and len(set(steps)) == len(steps)


def _unit(shares: Sequence[float]) -> list[float]:
    total = math.fsum(shares) or 1.0
    return [share / total for share in shares]


def _rows(
    run: Path | None, name: str, words: Sequence[str] = ()
) -> list[dict[str, str]]:
    return [] if run is None else read_step_table(run / name, words)


def k_section(material: Material, absent: dict[str, str]) -> tuple[list[Curve], str]:
    """Return the curves of k-means over K, and the note below them."""
    seed, curves = material.seed, list[Curve]()
    judged = main_key(material.entries[0].class_names)
    measure = PIXEL_METRICS[judged]
    for entry in material.entries:
        score = entry.metrics(seed=seed)[judged]
        if entry.clusters is None or math.isnan(score.value):
            continue
        known = not math.isnan(score.low)
        curves.append(
            Curve(
                entry.name,
                [float(entry.clusters)],
                [score.value],
                [score.low] if known else (),
                [score.high] if known else (),
                role=entry.role,
                line=False,
            )
        )
    model = material.model
    note = "Points are rows of the table above, with their 95 % intervals."
    if model is not None and material.batches is not None and material.matching:
        curves += k_curves(
            model,
            material.matching,
            material.test,
            material.batches,
            objective=model.card.matchings[model.card.head].objective,
            seed=seed,
            metric=measure,
        )
        note += (
            " Lines are k-means, matched and scored in the same way on at most "
            f"{MOST_TILES} tiles per role, counted from the nearest centroid of each "
            "pixel."
        )
    elif model is not None:
        note += " geoseg evaluate with --model and --report adds curves of k-means."
    if not curves:
        absent["k"] = (
            "No number of clusters is known: name the model with --model."
            if model is None
            else "There are no matching tiles, so that no k-means could be matched."
        )
    return curves, note


def label_section(
    material: Material,
    matching: NDArray[Any] | None,
    test: NDArray[Any] | None,
    absent: dict[str, str],
) -> tuple[Curve | None, str]:
    """Return the score by number of labelled tiles, and the note below it."""
    model = material.model
    if model is not None and model.learned_classes:
        return None, ""  # each number of labelled tiles would need its own training
    reason = None
    if model is None:
        reason = "The model that made this map is not known: name it with --model."
    elif matching is None or test is None or len(matching) < 2:
        reason = "There are fewer than two matching tiles here to draw from."
    elif not test[..., 1:].sum():
        absent_class = "building" if test.shape[-1] == 2 else "class but the background"
        reason = f"The test tiles hold no {absent_class}."
    if reason is not None or model is None or matching is None or test is None:
        absent["labels"] = reason or ""
        return None, ""
    points = label_efficiency(
        matching,
        test,
        objective=model.card.matchings[model.card.head].objective,
        draws=DRAWS,
        seed=material.seed,
        metric=PIXEL_METRICS[main_key(material.entries[0].class_names)],
    )
    curve = Curve(
        f"{model.card.method} ({model.card.head})",
        [point.tiles for point in points],
        [point.mean for point in points],
        [point.low for point in points],
        [point.high for point in points],
    )
    note = (
        f"Mean and 5 to 95 % range over {DRAWS} random draws of matching tiles, scored "
        f"on {counted(len(test), 'test tile')} from the most probable cluster of each pixel."
    )
    note += (
        " The right end can differ from the score at the top: a map adds up the "
        "probabilities of all clusters."
    )
    if blind := [point for point in points if point.blind > 0]:
        note += (
            f" {100 * blind[0].blind:.0f} % of the draws of {blind[0].tiles} show no "
            "building: their maps are empty and count as such."
        )
    return curve, note
