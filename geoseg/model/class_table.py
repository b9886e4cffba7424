"""Which class each cluster became, as a table to read."""

from collections.abc import Mapping

from geoseg.core.words import counted
from geoseg.model.file import Model
from geoseg.model.matching import Matching, one_to_one

#: Share of the pixels below which a cluster has no row in the table of a matching.
SEEN = 0.0005


def matching_table(model: Model) -> str:
    """Tabulate in Markdown what every cluster of every head means, and why."""
    if len(model.card.class_names) > 2:
        return _class_table(model)
    lines = []
    for head, matching in model.card.matchings.items():
        limit = "" if matching.threshold is None else f" > {matching.threshold:.3f}"
        lines += [
            f"head {head}: {counted(matching.tiles, 'tile')}; building where the building "
            f"score (the share of a cluster's pixels that is, drawn to the mean) is{limit}",
            "| cluster | class | share of pixels | building score |",
            "|---:|---|---:|---:|",
        ]
        shares = _seen_shares(matching)
        for cluster, share in shares.items():
            class_id = matching.cluster_to_class[cluster]
            lines.append(
                f"| {cluster} | {model.card.class_names[class_id]} | {share:.3f} | "
                f"{matching.scores[cluster][1]:.3f} |"
            )
        lines.append(_left_out(matching, shares))
    return "\n".join(lines)


def _class_table(model: Model) -> str:
    """Tabulate the clusters of every head: their class, their shares of all classes."""
    names = model.card.class_names
    lines = []
    for head, matching in model.card.matchings.items():
        strict = len(matching.counts) >= len(names)
        others = one_to_one(matching).cluster_to_class if strict else ()
        columns = ["class", *(["one-to-one"] if strict else []), "share of pixels"]
        lines += [
            f"head {head}: {counted(matching.tiles, 'tile')}, the class of the largest "
            "share",
            f"| cluster | {' | '.join((*columns, *names))} |",
            f"|---:|{'---|' * (1 + strict)}---:|{'---:|' * len(names)}",
        ]
        shares = _seen_shares(matching)
        for cluster, share in shares.items():
            cells = [names[matching.cluster_to_class[cluster]]]
            cells += [names[class_id] for class_id in others[cluster : cluster + 1]]
            numbers = [f"{value:.3f}" for value in (share, *matching.scores[cluster])]
            lines.append(f"| {cluster} | {' | '.join((*cells, *numbers))} |")
        lines.append(_left_out(matching, shares))
    return "\n".join(lines)


def _seen_shares(matching: Matching) -> dict[int, float]:
    """Return cluster → share of the pixels, of the clusters worth a row."""
    total = max(sum(map(sum, matching.counts)), 1)
    shares = {k: sum(row) / total for k, row in enumerate(matching.counts)}
    return {cluster: share for cluster, share in shares.items() if share >= SEEN}


def _left_out(matching: Matching, shares: Mapping[int, float]) -> str:
    """Say how many clusters have no row, and end the table."""
    rare = matching.num_clusters - len(shares)
    return f"\n(nearly) never seen: {counted(rare, 'cluster')}\n" if rare else ""
