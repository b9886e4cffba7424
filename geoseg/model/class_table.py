"""Tables of the class of each cluster."""

from collections.abc import Sequence

from geoseg.core.classes import BUILDING
from geoseg.core.words import counted
from geoseg.model.file import Model
from geoseg.model.matching import Matching, one_to_one
from geoseg.scores.documents import Cell, Column, Document, Row, Table

#: Clusters with a smaller share of the pixels have no row in the table of a matching.
SEEN = 0.0005


def matching_document(model: Model) -> Document:
    """Return tables of each cluster's class and scores, for every head."""
    names = model.card.class_names
    parts: list[str | Table] = []
    for head, matching in model.card.matchings.items():
        why = f"head {head}: {counted(matching.tiles, 'tile')}"
        if len(names) > 2:
            why += ", the class of the largest share"
        else:
            limit = "" if matching.threshold is None else f" > {matching.threshold:.3f}"
            why += (
                "; building where the building score (the share of a cluster's pixels "
                f"that is, drawn to the mean) is{limit}"
            )
        table = _table(names, matching)
        parts += [why, table, _left_out(matching, len(table.rows))]
    return Document(parts)


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
    return [(k, share, scores) for k, (share, scores) in known if share >= SEEN]


def _left_out(matching: Matching, rows: int) -> str:
    """Return a line with the number of clusters without a row, or ``""``."""
    rare = matching.num_clusters - rows
    return f"\n(nearly) never seen: {counted(rare, 'cluster')}\n" if rare else ""
