"""Facts of a run as text: the run card and the caveats."""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from geoseg.core.errors import TrainingError
from geoseg.core.run_files import SETTINGS_NAME, TIMES_NAME
from geoseg.core.words import counted
from geoseg.geo.formats.role_outlines import adjoining_words
from geoseg.geo.rasters import raster
from geoseg.model.card import ModelCard
from geoseg.runs.reporting.material import Material
from geoseg.runs.result import read_seconds
from geoseg.runs.settings import read_settings
from geoseg.runs.tiles.seen import counts_on_card
from geoseg.scores.metrics import majority_accuracy

log = logging.getLogger(__name__)

#: With fewer test tiles an interval over tiles is itself uncertain; with fewer matching
#: tiles the choice of building clusters depends on the tiles.
FEW_TEST, FEW_MATCHING = 20, 10
#: A training that covers its tiles fewer times counts as short.
FEW_TIMES = 5

Rows = list[tuple[str, str]]


def subtitle(material: Material) -> str:
    """Return one line on the map or model and its test tiles."""
    tiles = f"{len(material.test)} test {unit(material)}"
    if material.model is None:
        return f"map of unknown origin · {tiles}"
    card = material.model.card
    seed = f"seed {card.seed}"
    learns = card.provenance.get("learns_from_labels")
    method = f"{card.method} (learns from labels)" if learns else card.method
    return " · ".join([method, *_source(card), tiles, seed])


def unit(material: Material) -> str:
    """Return the noun for tiles: ``tiles``, or ``blocks`` if images were cut."""
    windows = [tile for tile in material.test if tile.window is not None]
    return "blocks" if windows else "tiles"


def _source(card: ModelCard) -> list[str]:
    source = card.provenance.get("source")
    return [str(source)] if source else []


def run_card(material: Material) -> dict[str, Sequence[tuple[str, str]]]:
    """Return group → rows of facts about the run."""
    groups: dict[str, Sequence[tuple[str, str]]] = {"Tiles": _tiles(material)}
    if material.model is not None:
        card = material.model.card
        groups["Data"] = _data(card)
        groups["Method"] = _method(card)
        groups["Training"] = _training(card, _settings(material.run))
        groups["Software"] = _software(card)
    seconds = {} if material.run is None else read_seconds(material.run / TIMES_NAME)
    if seconds:
        groups["Time"] = [(stage, clock(value)) for stage, value in seconds.items()]
    return groups


def _tiles(material: Material) -> Rows:
    kind = unit(material)
    rows = [("scores are from", f"{len(material.test)} {kind}")]
    if material.prediction is not None:
        rows.insert(0, ("map", str(material.prediction)))
    if material.model is None:
        return rows
    names = {
        "match": (
            "to learn the classes from"
            if material.model.learned_classes
            else "to name the clusters"
        ),
        "select": "to choose the head",
        "hidden": "to train on, labels hidden",
        "unlabelled": "to train on, unlabelled",
        "test": "kept from training, to test",
    }
    roles = counts_on_card(material.model.card)
    if material.training:
        rows.append(("training saw", f"{len(material.training)} {kind}"))
    return rows + [
        (names[role], f"{number} {kind}") for role, number in roles.items() if number
    ]


def _data(card: ModelCard) -> Rows:
    normalization = card.normalization
    rows = [("source", text) for text in _source(card)]
    if card.gsd_m is not None:
        rows.append(("GSD", f"{card.gsd_m:.2f} m"))
    for band, low, high in zip(
        normalization.bands, normalization.low, normalization.high, strict=True
    ):
        rows.append((f"band {band}", f"{low:.6g} to {high:.6g} become 0 to 1"))
    rows.append(("nodata", card.nodata))
    if "fingerprint" in card.provenance:
        rows.append(
            ("fingerprint of training tiles", str(card.provenance["fingerprint"])[:16])
        )
    return rows


def _method(card: ModelCard) -> Rows:
    rows = [("method", card.method), ("head of maps", card.head)]
    if "preset" in card.provenance:
        rows.insert(1, ("preset", str(card.provenance["preset"])))
    return rows + [(name, str(value)) for name, value in card.parameters.items()]


def _training(card: ModelCard, settings: Mapping[str, Any]) -> Rows:
    rows = [("seed", str(card.seed)), ("patch size", f"{card.patch_size} pixels")]
    if "steps" in card.provenance:
        rows.append(("steps", str(card.provenance["steps"])))
    restarts = card.provenance.get("restarts", ())
    if restarts:
        seeds = ", ".join(
            f"{restart['seed']}: {restart['matching_iou']:.3f}" for restart in restarts
        )
        rows.append(("IoU on the matching tiles, by seed", seeds))
    names = ("batch_size", "device", "precision", "objective", "blocks")
    known = [(n.replace("_", " "), settings[n]) for n in names if n in settings]
    return rows + [(name, str(value)) for name, value in known]


def _settings(run: Path | None) -> Mapping[str, Any]:
    """Return the settings of a run; empty if they cannot be read."""
    if run is None or not (run / SETTINGS_NAME).exists():
        return {}
    try:
        return read_settings(run).to_json()
    except TrainingError as error:
        log.warning("the page lacks the settings of the run: %s", error)
        return {}


def _software(card: ModelCard) -> Rows:
    versions = card.provenance.get("versions", {})
    return [(name, str(version)) for name, version in versions.items()]


def clock(seconds: float) -> str:
    """Return a time as text.

    Example:
        >>> clock(8.2), clock(95.0), clock(7300.0)
        ('8.2 s', '1 min 35 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def caveats(material: Material) -> list[str]:
    """Return sentences on the limits of the scores, from facts of this run."""
    sentences = []
    tests = len(material.test)
    if tests < FEW_TEST:
        sentences.append(
            f"{counted(tests, 'test tile')} {'is' if tests == 1 else 'are'} few: tiles differ "
            "more than pixels do, and an interval from so few is itself uncertain."
        )
    if material.prediction is not None and material.model is None:
        sentences.append(
            "How the map was made is not known. If its model saw these tiles, the "
            "scores are those of its own material."
        )
    if material.model is not None:
        sentences += _caveats_of_model(material, material.model.card)
    total = material.entries[0].confusions.sum(0)
    majority = float(majority_accuracy(total))
    if majority > 0.75:
        commonest = int(total.sum(1).argmax())
        names = material.entries[0].class_names
        plain = f"a map of nothing but {names[commonest]}"
        if len(names) == 2 and commonest == 0:
            plain = f"a map without any {names[1]}"
        sentences.append(f"Accuracy flatters here: {plain} has {majority:.2f}.")
    sentences.append(
        "Do all tiles come from one place, flight and season? Then nothing here tells "
        "how the map fares in another."
    )
    return sentences


def _caveats_of_model(material: Material, card: ModelCard) -> list[str]:
    sentences = []
    labelled = len(card.provenance.get("matched_on", ())) or len(material.matching)
    clusters = material.model.method.heads[card.head] if material.model else 0
    learned = material.model is not None and material.model.learned_classes
    if learned:
        sentences.append(
            f"This model itself learned from the labels of {counted(labelled, 'tile')}. "
            "Compare it with others that do."
        )
    elif card.matchings and labelled < FEW_MATCHING:
        sentences.append(
            f"{counted(labelled, 'labelled tile')} named {clusters} clusters. With so few, another "
            "choice of tiles gives another map (see the curve over labelled tiles)."
        )
    shared = {t.image for t in material.test} & {t.image for t in material.training}
    if card.provenance.get("transductive"):
        sentences.append(
            "Transductive: training saw the images of the test tiles, without labels. "
            "New tiles may score lower."
        )
    elif shared:
        sentences.append(
            f"Test and training blocks are cut from the same {counted(len(shared), 'image')}: the "
            "score is that of mapping the rest of a known scene, not a new one."
        )
    else:
        sentences.append(
            f"Training saw the images of the matching tiles, with{'' if learned else 'out'} "
            f"labels, {_others(card)}but no test image."
        )
    near = card.provenance.get("adjoining_test", {})
    words = adjoining_words(near, counts_on_card(card))
    sentences += [f"{words}."] if words else []
    if len(card.matchings) > 1:
        sentences.append(
            f"{len(card.matchings)} heads are tabulated. Choosing the best of them after "
            "the fact would be optimistic; the first row was fixed before the test."
        )
    sentences += _short_training(material, card)
    logs = card.provenance.get("logs", {})
    if logs.get("entropy", 1.0) < 0.3:
        sentences.append(
            f"The clusters are very unequal (entropy {logs['entropy']:.2f} of 1): "
            "training is close to collapse."
        )
    sentences.append(f"One seed ({card.seed}): other seeds score differently.")
    return sentences


def _others(card: ModelCard) -> str:
    """Return the words for images that training saw beside those of matching tiles."""
    hidden = counts_on_card(card).get("hidden", 0)
    return f"{counted(hidden, 'tile')} with labels hidden, " if hidden else ""


def _short_training(material: Material, card: ModelCard) -> list[str]:
    """Return sentences if training was short or stopped early."""
    settings, steps = _settings(material.run), card.provenance.get("steps")
    if not steps or "batch_size" not in settings or not material.training:
        return []
    sentences = []
    planned = settings.get("max_steps")
    if planned and steps < planned:
        sentences.append(
            f"Training stopped early, after {steps} of {counted(planned, 'step')}."
        )
    extents = [t.extent(raster.describe(t.image)) for t in material.training]
    pixels = sum(extent.height * extent.width for extent in extents)
    patches = steps * math.prod(
        int(settings.get(name, 1)) for name in ("batch_size", "accumulate", "devices")
    )
    times = patches * card.patch_size**2 / pixels
    if times < FEW_TIMES:
        sentences.append(
            f"Training was short: {counted(steps, 'step')} cover the training {unit(material)} "
            f"{times:.2g} times. More steps (--max-steps) may score better."
        )
    return sentences
