"""What geoseg sees in a model file, and in the folder of a run."""

import csv
import json
from pathlib import Path
from typing import Any

from geoseg.errors import TrainingError
from geoseg.info.sheet import Sheet, columns, number, percent
from geoseg.model import MODEL_NAME, ModelCard, file_sha256, load_card
from geoseg.run_files import METRICS_NAME, SETTINGS_NAME
from geoseg.settings import RunSettings


def model_sheet(path: Path) -> Sheet:
    """Look at the card of a model file.

    Raises:
        ModelFileError: If it is no model.
    """
    card = load_card(path)
    facts = {"sha256": file_sha256(path), "bytes": path.stat().st_size}
    sheet = Sheet(str(path), "model", facts | {"card": card.to_json()})
    sheet.say("file", f"{facts['bytes']} bytes, SHA-256 {facts['sha256']}")
    _say_card(sheet, card)
    return sheet


def run_sheet(folder: Path) -> Sheet:
    """Look at a run: its settings, how far it went, and its model.

    Raises:
        ModelFileError: If its model is damaged.
        TrainingError: If its settings are.
    """
    model, settings = folder / MODEL_NAME, folder / SETTINGS_NAME
    sheet = Sheet(str(folder), "run")
    if settings.exists():
        command = _command(settings)
        sheet.facts["command"] = command
        sheet.say("made by", command)
    steps = _steps(folder / METRICS_NAME)
    sheet.facts["steps"] = steps
    if steps:
        sheet.say("steps", f"{steps}, numbers in {METRICS_NAME}")
    if model.exists():
        inner = model_sheet(model)
        sheet.facts["model"] = inner.facts
        sheet.rows += inner.rows
    else:
        sheet.say("model", f"none yet; go on with: geoseg train --resume {folder}")
    return sheet


def _command(path: Path) -> str:
    try:
        return RunSettings.from_json(json.loads(path.read_text())["settings"]).command()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError(
            f"{path} is damaged ({error}), expected the settings that geoseg train wrote"
        ) from error


def _steps(path: Path) -> int:
    if not path.exists():
        return 0
    with path.open(newline="") as file:
        return max((int(row["step"]) for row in csv.DictReader(file)), default=0)


def _say_card(sheet: Sheet, card: ModelCard) -> None:
    stretch = card.normalization
    parameters = " ".join(f"{k}={v}" for k, v in card.parameters.items())
    sheet.say("method", card.method, *([parameters] if parameters else []))
    bands = zip(stretch.bands, stretch.low, stretch.high, strict=True)
    sheet.say(
        "bands",
        *columns(
            [
                (name, f"{low:.4g} to {high:.4g} made 0 to 1")
                for name, low, high in bands
            ]
        ),
    )
    if stretch.whitening is not None:
        sheet.say("whitening", "zca: bands decorrelated after the views")
    sheet.say("no data", card.nodata)
    gsd = "unknown" if card.gsd_m is None else f"{card.gsd_m:.3g} m"
    sheet.say("trained on", f"pixels of {gsd}, patches of {card.patch_size}")
    _say_matching(sheet, card)
    _say_scores(sheet, card.metrics)
    _say_provenance(sheet, card)


def _say_matching(sheet: Sheet, card: ModelCard) -> None:
    if card.head not in card.matchings:
        sheet.say("classes", "none: the clusters are not matched; run geoseg match")
        return
    matching = card.matchings[card.head]
    sheet.say(
        "classes",
        f"{', '.join(card.class_names)}; head {card.head} of {matching.num_clusters} "
        f"clusters, matched on {matching.tiles} tiles",
    )
    total = sum(map(sum, matching.counts)) or 1
    for class_id, name in enumerate(card.class_names[1:], start=1):
        chosen = [
            k for k, own in enumerate(matching.cluster_to_class) if own == class_id
        ]
        area = sum(sum(matching.counts[k]) for k in chosen) / total
        words = ", ".join(
            f"{k} ({percent(matching.scores[k][class_id])})" for k in chosen
        )
        sheet.say(
            "",
            f"{name}: clusters {words or 'none'}; {percent(area)} of the labelled area, "
            f"{percent(matching.prior[class_id])} in the labels",
        )


def _say_scores(sheet: Sheet, metrics: Any) -> None:
    if not metrics:
        sheet.say("scores", "none: there were no test tiles")
        return
    parts = []
    for name, score in metrics.items():
        if isinstance(score, dict) and isinstance(score.get("value"), float):
            low, high = score.get("interval") or (None, None)
            parts.append(
                (name, number(score["value"]), f"({number(low)} to {number(high)})")
            )
    sheet.say(
        "scores", f"on {metrics.get('test_tiles', '?')} test tiles, 95 % interval"
    )
    sheet.say("", *columns(parts) if parts else [])


def _say_provenance(sheet: Sheet, card: ModelCard) -> None:
    origin = card.provenance
    roles = origin.get("tiles", {})
    counts = ", ".join(f"{len(ids)} {role}" for role, ids in roles.items() if ids)
    steps = f"{origin['steps']} steps, " if "steps" in origin else ""
    sheet.say("made from", f"{origin.get('source', '?')}: {counts or 'no tiles named'}")
    sheet.say("training", f"{steps}seed {card.seed}")
    versions = origin.get("versions", {})
    sheet.say(
        "versions", ", ".join(f"{k} {v}" for k, v in versions.items()) or "unknown"
    )
