"""Tables of the class of each cluster."""

from collections.abc import Sequence

from geoseg.core.classes import BUILDING
from geoseg.core.words import counted
from geoseg.model.file import Model
from geoseg.model.matching import Matching
from geoseg.model.one_to_one import one_to_one
from geoseg.scores.documents import Cell, Column, Document, Row, Table

#: Clusters with a smaller share of the pixels have no row in the table of a matching.
SEEN = 0.0005
#: Most rows of that table: the clusters with the most pixels.
MOST_ROWS = 40


def matching_document(model: Model) -> Document:
    """Return tables of each cluster's class and scores, for every head."""
    names = model.card.class_names
    parts: list[str | Table] = []
    for head, matching in model.card.matchings.items():
        why = f"head {head}: {counted(matching.tiles, 'tile')}, {_rule(matching)}"
        table = _table(names, matching)
        parts += [why, table, _left_out(matching, len(table.rows))]
    return Document(parts)


def _rule(matching: Matching) -> str:
    """Return how pixels get their class, in words."""
    rule = matching.rule().decision
    if matching.num_classes > 2:
        return "the class of the largest share" + (" by pixel" if rule else "")
    score = "the building score (the share of a cluster's pixels that is, drawn to the mean)"
    if rule is None:
        limit = "" if matching.threshold is None else f" > {matching.threshold:.3f}"
        return f"building where {score} is{limit}"
    return (
        f"building where the probability is > {rule.threshold or 0.5:.3f}; it follows from "
        f"{score}"
    )


def _table(names: Sequence[str], matching: Matching) -> Table:
    """Return a table of a head's clusters: their class, their shares of the classes."""
    called = {"class": matching}
    if 2 < len(names) <= len(matching.counts):
        called["one-to-one"] = one_to_one(matching)
    heads, shown = names, slice(None)
    if len(names) == 2:
        heads, shown = ["building score"], slice(BUILDING, BUILDING + 1)
    rows = []
    for k, share, scores in _seen(matching):
        classes = [names[own.cluster_to_class[k]] for own in called.values()]
        numbers = [f"{value:.3f}" for value in (share, *scores[shown])]
        rows.append(Row(str(k), [Cell(text) for text in (*classes, *numbers)]))
    columns = [
        Column("cluster"),
        *(Column(name, number=False) for name in called),
        *map(Column, ("share of pixels", *heads)),
    ]
    return Table(columns, rows)


def _seen(matching: Matching) -> list[tuple[int, float, Sequence[float]]]:
    """Return id, share of the pixels and scores of the clusters that get a row."""
    total = max(sum(map(sum, matching.counts)), 1)
    shares = [sum(row) / total for row in matching.counts]
    known = enumerate(zip(shares, matching.scores, strict=True))
    rows = [(k, share, scores) for k, (share, scores) in known if share >= SEEN]
    common = sorted(rows, key=lambda row: -row[1])[:MOST_ROWS]
    return sorted(common)


def _left_out(matching: Matching, rows: int) -> str:
    """Return a line with the number of clusters without a row, or ``""``."""
    rare = matching.num_clusters - rows
    if not rare:
        return ""
    what = "rarer" if rows == MOST_ROWS else "(nearly) never seen"
    return f"\n{what}: {counted(rare, 'cluster')}\n"
