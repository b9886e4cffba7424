"""Sentences on the leaderboard: the best method of each family, and by how much."""

import math
from collections.abc import Sequence

from geoseg.leaderboard.results import Line
from geoseg.leaderboard.trial_files import Trial
from geoseg.report.verdict import CHANCE, clause, comparison, is_open
from geoseg.scores.comparison import SCORE_NAMES, Gain, Runs, gains

#: Family → its name in sentences, in the order of the sentences.
FAMILY_NAMES = {
    "unsupervised": "methods that learn without labels",
    "reference": "references, which learn from labels",
    "control": "controls",
}


def winners(lines: Sequence[Line]) -> list[Line]:
    """Return the best row of each family, of those with a score for every run."""
    best: dict[str, Line] = {}
    for line in _comparable(lines):
        family = line.row.family
        if family not in best or _score(line) > _score(best[family]):
            best[family] = line
    return list(best.values())


def _comparable(lines: Sequence[Line]) -> list[Line]:
    """Return the rows with a score that lack no run of the others."""
    return [line for line in lines if not line.missing and not math.isnan(_score(line))]


def sentences(lines: Sequence[Line]) -> list[str]:
    """Return a text for each family on its best row compared with others and controls.

    Differences are judged as in :func:`geoseg.report.verdict.verdict`, over the tiles
    of all runs; with several runs they must also exceed their spread.
    """
    known = _comparable(lines)
    if lines and not any(line.is_run for line in known):
        return ["The test tiles hold no building, and none was found: there is no IoU."]
    texts = []
    for family, name in FAMILY_NAMES.items():
        own = sorted(
            (line for line in known if line.row.family == family),
            key=_score,
            reverse=True,
        )
        if own:
            texts.append(_of_family(own, name, known))
    return texts


def sentence(lines: Sequence[Line]) -> str:
    """Return the sentences of all families as one text; empty without rows."""
    return " ".join(sentences(lines))


def _of_family(own: Sequence[Line], name: str, known: Sequence[Line]) -> str:
    """Return the text of a family, whose rows are in the order of their scores."""
    first = own[0]
    if len(own) == 1:
        text = f"Of the {name}, {first.row.name} alone was run, with {_worth(first)}"
    else:
        text = f"Of the {name}, {first.row.name} won with {_worth(first)}"
    parts = _compared(first, own[1:2]) if len(own) > 1 else []
    if parts:
        name = own[1].row.name
        text += "; it " + " and ".join(clause(gain, name, by=True) for gain in parts)
    rivals = _controls(first, known)
    against = _compared(first, rivals) if rivals else []
    if not against:
        return f"{text}. {CHANCE}" if any(map(is_open, parts)) else f"{text}."
    return f"{text}. {comparison(against, [line.row.name for line in rivals])}"


def _controls(first: Line, known: Sequence[Line]) -> list[Line]:
    """Return the controls to compare a row with, which use no more labels than it.

    A control is compared only with its own family.
    """
    if first.row.family == "control":
        return []
    return [
        line
        for line in known
        if line.row.family == "control"
        and (first.learns_from_labels or not line.learns_from_labels)
    ]


def _compared(first: Line, rivals: Sequence[Line]) -> list[Gain]:
    """Return the gains of a row over its rivals, run by run."""
    lines = (first, *rivals)
    jobs = {_job(trial) for line in lines if line.is_run for trial in line.trials}
    keys = sorted(jobs or map(_job, first.trials))
    return gains(_runs(first, keys), [_runs(line, keys) for line in rivals])


def _runs(line: Line, keys: Sequence[tuple[int, int]]) -> Runs:
    """Return the scores of a row's runs; a row with one run per split repeats it."""
    by_key = {_job(trial): trial.scores for trial in line.trials}
    by_split = {trial.job.split: trial.scores for trial in line.trials}
    return [by_key.get(key, by_split[key[0]]) for key in keys]


def _worth(line: Line) -> str:
    text = f"{SCORE_NAMES[line.main]} {_score(line):.3f}"
    outlines = line.summaries.get("polygon_f1")
    if line.main == "iou" and outlines is not None and not math.isnan(outlines.mean):
        text += f" and {SCORE_NAMES['polygon_f1']} {outlines.mean:.3f}"
    return text


def _score(line: Line) -> float:
    return line.summaries[line.main].mean


def _job(trial: Trial) -> tuple[int, int]:
    return trial.job.split, trial.job.seed
