"""Warnings of a map that is empty, blank, or absurd, with what to try."""

import logging
from collections.abc import Set
from pathlib import Path

from geoseg.core.words import counted
from geoseg.geo.formats.formats import check_format
from geoseg.geo.maps.summary import MapSummary
from geoseg.model.file import Model

log = logging.getLogger(__name__)


def warn_of_doubts(summary: MapSummary, model: Model, output: Path) -> None:
    """Warn of what has no data, of an absurd map, and of what QGIS makes of nothing."""
    if summary.blank:
        first, *others = summary.blank
        log.warning(
            "%s no valid pixel: nothing was mapped there",
            (
                f"{first} and {counted(len(others), 'other image')} have"
                if others
                else f"{first} has"
            ),
        )
    if summary.doubt is not None:
        log.warning("%s: %s", summary.doubt, _advice(summary, model))
    if not summary.footprints and not check_format(output).describes_itself:
        log.warning("%s is empty: no layer in QGIS, unlike a .gpkg", output.name)


def _advice(summary: MapSummary, model: Model) -> str:
    """Say what to try where a map is absurd."""
    own = model.card.head
    names = {it.name for it in summary.classes}
    heads = [it for it in model.card.matchings if _means(model, it, names)]
    others = [f"--head {head}" for head in heads if head != own]
    small = not summary.footprints and any(it.area_m2 for it in summary.classes)
    ways = [
        *(["a lower --min-area"] if small else []),
        *([f"another head ({' or '.join(others)})"] if others else []),
        "geoseg match with labels near this place",
    ]
    nothing = own in model.card.matchings and own not in heads
    why = f"no cluster of head {own} means it" if nothing else "if that is wrong"
    return f"{why}, try {', or '.join(ways)}"


def _means(model: Model, head: str, names: Set[str]) -> bool:
    """Return whether a cluster of a head means one of some classes."""
    classes = model.card.matchings[head].cluster_to_class
    return any(model.card.class_names[class_id] in names for class_id in classes)
