"""Describe labels as a training would use them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import PurePath

from geoseg.core.classes import LabelClasses
from geoseg.core.words import counted
from geoseg.geo.labels.inspection import LabelFacts, inspect_labels
from geoseg.geo.tiles.tiles import Tile
from geoseg.info.sheet import Sheet, percent, wrapped
from geoseg.info.vectors import field_words

#: Most values that are listed.
_SHOWN = 10


def say_labels(sheet: Sheet, tiles: Sequence[Tile], nodata: str) -> None:
    """Add the contents of the labels of tiles, and their gaps.

    Args:
        sheet: To add to.
        tiles: Of an image or a folder, checked; those without labels are ignored.
        nodata: The nodata rule of the images.

    Raises:
        LabelError: If labels cannot be read.
    """
    labelled = [tile for tile in tiles if tile.labels is not None]
    if not labelled:
        return
    facts, classes = inspect_labels(labelled, nodata=nodata), labelled[0].classes
    sheet.facts["labels"] = {"source": _source(labelled), **asdict(facts)}
    noun = "sparse feature" if classes.sparse else "polygon"
    sheet.say("labels", f"{_kind(facts, noun, len(tiles))}, {_grid_words(facts)}")
    sheet.say("", f"in {_source(labelled)}")
    if len(labelled) < len(tiles) and facts.files == 1:
        sheet.say("", f"they hold in {len(labelled)} of {len(tiles)} tiles")
    if facts.values and not classes.colours:
        sheet.say("", *wrapped(f"values {share_words(facts.values)}"))
    sheet.say("", *wrapped(_class_words(facts), 84))
    for wrong, count in facts.left_out.items():
        sheet.say(
            "", f"left out, whole or in part: {counted(count, 'feature')} ({wrong})"
        )
    if facts.unlabelled:
        sheet.say("", f"{percent(facts.unlabelled)} of the pixels are unlabelled")
    sheet.say("", *_hints(facts, classes))


def _source(tiles: Sequence[Tile]) -> str:
    """Return the file of the labels, or their folder."""
    files = {str(tile.labels) for tile in tiles}
    return files.pop() if len(files) == 1 else str(PurePath(files.pop()).parent)


def _kind(facts: LabelFacts, noun: str, tiles: int) -> str:
    if facts.polygons is None:
        return "a mask" if facts.files == 1 else f"{facts.files} masks"
    where = "meet the image" if tiles == 1 else "meet the images"
    files = "" if facts.files == 1 else f" of {facts.files} files"
    met = "all" if facts.inside == facts.polygons else facts.inside
    return f"{counted(facts.polygons, noun)}{files} ({met} {where})"


def share_words(shares: Mapping[str, float]) -> str:
    """Return shares by name as text, at most :data:`_SHOWN` of them."""
    named = [f"{name} ({percent(share)})" for name, share in shares.items()]
    more = len(named) - _SHOWN
    return ", ".join(named[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _class_words(facts: LabelFacts) -> str:
    """Return the shares of the classes, and their range over tiles."""
    (_, background), *others = facts.classes.items()
    words = ", ".join(f"{name} {percent(share)}" for name, share in others)
    words += " of the labelled pixels"
    if facts.by_tile is not None and facts.tiles > 1:
        low, high = map(percent, facts.by_tile)
        words += f", by tile {low} to {high}"
    if facts.empty and facts.tiles > 1:
        words += f", none in {facts.empty} of {facts.looked_at}"
    elif facts.looked_at < facts.tiles:
        words += f" ({facts.looked_at} of {facts.tiles} looked at)"
    return words


def _grid_words(facts: LabelFacts) -> str:
    if facts.polygons is None:
        if facts.other_grid:
            moved = f" in {facts.crs}" if facts.other_crs else ""
            return f"read by the nearest pixel from another grid{moved}"
        return "on the image's grid"
    return f"reprojected from {facts.crs}" if facts.other_crs else "in the image's CRS"


def _hints(facts: LabelFacts, classes: LabelClasses) -> list[str]:
    """Return hints on options that tell classes apart, if no classes are given."""
    if not classes.any_building or classes.field is not None:
        return []
    if facts.polygons is not None:
        return field_words(facts.fields)
    return value_hints(facts.values)


def value_hints(values: Iterable[str]) -> list[str]:
    """Return hints on how to name the values of a mask, if it has several."""
    named = sorted(set(values) - {"0", "255", "no data"}, key=lambda v: (len(v), v))
    colours = [value for value in named if value.startswith("#")]
    if colours:
        first, *others = colours
        pairs = "".join(f",NAME={colour}" for colour in others[:_SHOWN])
        return [
            "as labels, its colours need names:",
            f"  --classes background={first}{pairs}",
        ]
    if len(named) < 2:
        return []
    pairs = "".join(f",NAME={value}" for value in named[:_SHOWN])
    return [
        "all but 0 is building; to tell the values apart:",
        f"  --classes background=0{pairs}",
    ]
