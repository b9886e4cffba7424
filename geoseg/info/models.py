"""Describe a model file."""

from collections.abc import Sequence
from pathlib import Path

from geoseg.core.run_files import SCORED_NAME
from geoseg.core.words import counted
from geoseg.geo.formats.role_outlines import adjoining_words
from geoseg.info.run_state import RunState, run_state
from geoseg.info.sheet import Sheet, columns, percent, wrapped
from geoseg.methods.bases.method import CLASS_HEAD
from geoseg.model.card import ModelCard, load_card
from geoseg.model.file import file_sha256
from geoseg.model.matching import Matching
from geoseg.runs.tiles.seen import counts_on_card
from geoseg.scores.tables import OVERALL_COLUMNS, TABLE_COLUMNS


def model_sheet(path: Path) -> Sheet:
    """Describe a model file by its card.

    Raises:
        ModelFileError: If it is not a model.
        TrainingError: If it lies in the folder of a run with damaged settings.
    """
    card = load_card(path)
    facts = {"sha256": file_sha256(path), "bytes": path.stat().st_size}
    sheet = Sheet(str(path), "model", facts | {"card": card.to_json()})
    sheet.say("file", f"{facts['bytes']} bytes, SHA-256 {facts['sha256']}")
    _say_card(sheet, card)
    if card.metrics:
        _say_scores(sheet, card)
    else:
        reason = _why_no_scores(card, run_state(path.parent))
        sheet.facts["no_scores"] = reason
        sheet.say("scores", reason)
    _say_provenance(sheet, card)
    return sheet


def _why_no_scores(card: ModelCard, run: RunState) -> str:
    """Return why a card has no scores: train adds them last, and match removes them."""
    origin = card.provenance
    if "matched_on" in origin:
        return "none: matched again later, and not scored with this matching"
    if not origin.get("tiles", {}).get("test"):
        return "none: there were no test tiles"
    if card.head not in card.matchings:
        return "none: without classes there is nothing to score"
    steps = origin.get("steps") or 0
    if run.settings is None:
        return f"none: not scored when this was saved, after {counted(steps, 'step')}"
    if run.running:
        return "none yet: the run is in progress, and scores come last"
    if steps and (run.planned is None or steps < run.planned):
        return f"none yet: stopped at step {run.of(steps)}; {run.go_on}"
    return f"none yet: ended before they were written; {run.go_on}"


def _say_card(sheet: Sheet, card: ModelCard) -> None:
    stretch = card.normalization
    parameters = " ".join(f"{k}={v}" for k, v in card.parameters.items())
    learns = ", which learns from labels" if _learns(card) else ""
    sheet.say("method", card.method + learns, *wrapped(parameters))
    bands = zip(stretch.bands, stretch.low, stretch.high, strict=True)
    sheet.say(
        "bands",
        *columns(
            [
                (name, f"{low:.4g} to {high:.4g} mapped to 0 to 1")
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


def _say_matching(sheet: Sheet, card: ModelCard) -> None:
    if card.head not in card.matchings:
        sheet.say("classes", "none: the clusters are not matched; run geoseg match")
        return
    matching = card.matchings[card.head]
    tiles = counted(matching.tiles, "tile")
    how = f"head {card.head} of {matching.num_clusters} clusters, matched on {tiles}"
    if _learns(card) and card.head == CLASS_HEAD:
        how = f"learned from the labels of {tiles}"
    sheet.say("classes", f"{', '.join(card.class_names)}; {how}")
    if _learns(card) and card.head == CLASS_HEAD:
        return
    if matching.naming == "share":
        _say_shares(sheet, card, matching)
        return
    total = sum(map(sum, matching.counts)) or 1
    for class_id, name in enumerate(card.class_names[1:], start=1):
        chosen = [
            k for k, own in enumerate(matching.cluster_to_class) if own == class_id
        ]
        area = sum(sum(matching.counts[k]) for k in chosen) / total
        sheet.say("", f"{name}: {_cluster_words(matching, chosen, class_id, name)}")
        sheet.say(
            "",
            f"  {percent(area)} of the labelled area in all; the labels call "
            f"{percent(matching.prior[class_id])} of it {name}",
        )


def _learns(card: ModelCard) -> bool:
    return bool(card.provenance.get("learns_from_labels"))


def _say_shares(sheet: Sheet, card: ModelCard, matching: Matching) -> None:
    """Say how pixels get their class from the class shares of clusters."""
    decision, _, smoothing = matching.rule()
    words = "named by share"
    if card.combined is not None and card.combined.head == card.head:
        decision, _, smoothing = card.combined.rule()
        weights = {card.head: card.combined.weight}
        weights |= {book.name: book.weight for book in card.codebooks}
        words += ": " + ", ".join(f"{name} {w:g}" for name, w in weights.items())
    if decision is not None and decision.threshold is not None:
        words += f"; building above a probability of {decision.threshold:.2f}"
    sheet.say("", words)
    if smoothing is not None:
        within = counted(smoothing.radius, "pixel")
        sheet.say("", f"scores are smoothed along edges within {within}")


def _cluster_words(
    matching: Matching, chosen: Sequence[int], class_id: int, name: str
) -> str:
    """Return the clusters of a class, with the share of each that has this label."""
    if not chosen:
        return "no cluster"
    shares = [percent(matching.scores[k][class_id]) for k in chosen]
    first, *others = (f"{k} ({s}" for k, s in zip(chosen, shares, strict=True))
    words = ", ".join([f"{first} of it {name})", *(f"{other})" for other in others)])
    return f"cluster{'s' if others else ''} {words}"


def _say_scores(sheet: Sheet, card: ModelCard) -> None:
    """Add the scores, first those of the tables in their order."""
    metrics = card.metrics
    tables = [TABLE_COLUMNS, OVERALL_COLUMNS]
    if len(card.class_names) > 2:
        tables.reverse()
    names = {key: head for table in tables for head, key, _ in table}
    names |= {key: key.replace("_", " ") for key in metrics if key not in names}
    parts = []
    for key, name in names.items():
        score = metrics.get(key)
        if isinstance(score, dict) and "value" in score:
            low, high = score.get("interval") or (None, None)
            parts.append(
                (name, _score(score["value"]), f"{_score(low)} to {_score(high)}")
            )
    tiles = counted(metrics.get("test_tiles", 0), "test tile")
    sheet.say(
        "scores", f"on {tiles}, 95 % interval", *(columns(parts) if parts else ())
    )
    if "refit" in card.provenance:
        own = counted(sum(_refit_tiles(card)), "tile")
        sheet.say("", f"of {SCORED_NAME}, the model before the refit on {own}")


def _refit_tiles(card: ModelCard) -> tuple[int, int]:
    """Return the numbers of matching and test tiles of the refit."""
    refit = card.provenance["refit"]
    return refit["match_tiles"], refit["test_tiles"]


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _say_provenance(sheet: Sheet, card: ModelCard) -> None:
    origin = card.provenance
    roles = counts_on_card(card)
    counts = ", ".join(f"{number} {role}" for role, number in roles.items() if number)
    steps = f"{counted(origin['steps'], 'step')}, " if "steps" in origin else ""
    sheet.say("made from", f"{origin.get('source', '?')}: {counts or 'no tiles named'}")
    near = adjoining_words(origin.get("adjoining_test", {}), roles)
    sheet.say("", *wrapped(near))
    preset = f", preset {origin['preset']}" if "preset" in origin else ""
    tried = len(origin.get("restarts", ()))
    best = f", the best of {tried} on the matching tiles" if tried else ""
    sheet.say("training", f"{steps}seed {card.seed}{best}{preset}")
    if "refit" in origin:
        again = "trained again" if _learns(card) else "matched again"
        matched, tested = _refit_tiles(card)
        sheet.say(
            "", f"{again} with {matched} matching and {tested} test tiles together"
        )
    versions = origin.get("versions", {})
    sheet.say(
        "versions", ", ".join(f"{k} {v}" for k, v in versions.items()) or "unknown"
    )
