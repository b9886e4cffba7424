"""Warnings about labels that are left out or changed, logged once before a long run."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from geoseg.core.classes import BACKGROUND
from geoseg.core.patches import IGNORE
from geoseg.core.words import counted
from geoseg.geo.labels.layers import read_file
from geoseg.geo.labels.masks import named_values
from geoseg.geo.rasters.inspection import sample
from geoseg.geo.rasters.raster import describe
from geoseg.geo.tiles.tiles import Tile

log = logging.getLogger(__name__)

#: Most values named in one line of the log.
SHOWN = 10
#: Most masks whose values are read if no classes are named.
LOOKED_AT = 8


def warn_of_left_out(tiles: Iterable[Tile]) -> None:
    """Warn about features that cannot be read or rasterised.

    Args:
        tiles: One tile of each file.
    """
    files = [(str(tile.labels), read_file(tile).left_out) for tile in tiles]
    some = [(path, left_out) for path, left_out in files if left_out]
    if not some:
        return
    path, first = some[0]
    wrong, numbers = next(iter(first.items()))
    count = sum(len(own) for _, left_out in some for own in left_out.values())
    log.warning(
        "labels: %s left out, whole or in part, in %d of %s: the first is feature %d of "
        "%s (%s)",
        counted(count, "feature"),
        len(some),
        counted(len(files), "file"),
        numbers[0],
        path,
        wrong,
    )


def warn_of_unknown(counts: Mapping[str, Mapping[str, int]]) -> None:
    """Warn about values that belong to no class.

    Args:
        counts: File → value → number of pixels or features.
    """
    total = Counter[str]()
    files = [path for path, values in counts.items() if values]
    for values in counts.values():
        total.update(values)
    if not total:
        return
    named = [f"{value} ({count})" for value, count in total.most_common(SHOWN)]
    rest = (
        f" and {counted(len(total) - SHOWN, 'more value')}"
        if len(total) > SHOWN
        else ""
    )
    log.warning(
        "label values of no class count as unlabelled: %s%s in %d of %s, %s first; "
        "name them with --classes",
        ", ".join(named),
        rest,
        len(files),
        counted(len(counts), "file"),
        files[0],
    )


def warn_of_nodata(tiles: Sequence[Tile]) -> None:
    """Warn about masks whose nodata value is a named class, or may be the background.

    Args:
        tiles: Tiles whose labels are masks.
    """
    named: dict[str, float] = {}
    open_ground: dict[str, str] = {}
    for path, tile in {str(tile.labels): tile for tile in tiles}.items():
        nodata = describe(path).nodata
        if nodata is not None and nodata in named_values(tile.classes):
            named[path] = nodata
        elif nodata == 0 and hidden_ground(tile):
            open_ground[path] = hidden_ground(tile)
    if named:
        path, value = next(iter(named.items()))
        log.warning(
            "the value %g, which --classes names, is nodata in %d of %s (%s first): it "
            "counts as the class that it names",
            value,
            len(named),
            counted(len(tiles), "mask"),
            path,
        )
    if open_ground:
        log.warning(
            "%s (%d of %s)",
            next(iter(open_ground.values())),
            len(open_ground),
            counted(len(tiles), "mask"),
        )


def hidden_ground(tile: Tile) -> str:
    """Return a sentence about a mask's nodata that may be the background, or "".

    Args:
        tile: A tile whose labels are a mask.
    """
    classes = tile.classes
    if not classes.any_building and classes.rest != BACKGROUND:
        return ""
    mask = describe(str(tile.labels))
    if mask.alpha is not None:
        where = "its alpha band is 0"
        how = "drop that band (gdal_translate -b 1)"
    elif mask.masked:
        where = "the mask that comes with it is 0"
        how = "drop that (gdal_translate -mask none)"
    elif mask.nodata is not None:
        where = f"it holds {mask.nodata:g}, its nodata value"
        values = set(np.unique(sample(mask, nodata="none")[0])) - {mask.nodata}
        other = f"{min(values):g}" if values else "…"
        how = f"name it by --classes background={mask.nodata:g},building={other}"
    else:
        return ""
    return f"mask {tile.labels} is unlabelled where {where}: if that is the background, {how}"


def warn_of_merged(tiles: Sequence[Tile]) -> None:
    """Warn about several mask values that all count as building, as none is named.

    Args:
        tiles: Tiles whose labels are masks.
    """
    masks = {str(tile.labels): None for tile in tiles if tile.classes.any_building}
    values: set[float] = set()
    undeclared = []
    for path in list(masks)[:LOOKED_AT]:
        mask = describe(path)
        pixels, valid = sample(mask)
        values |= set(np.unique(pixels[0][valid]).tolist()) - {0, IGNORE}
        held = set(np.unique(pixels[0]).tolist())
        # masks of only 0 and 255 raise an error later
        if mask.nodata != IGNORE and IGNORE in held and held - {0, IGNORE}:
            undeclared.append(path)
    if undeclared:
        log.warning(
            "the value %d counts as unlabelled, though %s does not declare it as nodata: "
            "if it is a class, name it with --classes",
            IGNORE,
            undeclared[0],
        )
    if len(values) > 1:
        named = [f"{value:g}" for value in sorted(values)]
        more = len(named) - SHOWN
        log.warning(
            "label values %s%s all count as building: name them with --classes, as in "
            "background=*,building=%s",
            ", ".join(named[:SHOWN]),
            f" and {more} more" if more > 0 else "",
            named[0],
        )
