"""Pictures of tiles: image, reference, prediction and errors."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.core.classes import BUILDING, TWO_CLASSES, footprint_ids
from geoseg.core.patches import IGNORE
from geoseg.core.words import counted
from geoseg.geo.evaluation.judged_maps import JudgedMap
from geoseg.geo.evaluation.tile_footprints import tile_footprints
from geoseg.geo.labels.labels import read_footprints
from geoseg.geo.rasters import raster
from geoseg.geo.rasters.description import PixelWindow
from geoseg.geo.rasters.strips import ClassStrip
from geoseg.geo.tiles.layouts import VECTOR_SUFFIXES
from geoseg.geo.tiles.tiles import Tile
from geoseg.report.contents import Outline, Picture, TileStory
from geoseg.report.images import LARGE_SIDE, PANEL_SIDE, picture
from geoseg.report.painting import (
    content_note,
    paint_clusters,
    paint_map,
    score_note,
    stretch_image,
)
from geoseg.runs.reporting.pictures import read_colours

Pixels = NDArray[Any]

#: Errors of less than this percentage of a class on a tile are not mentioned.
LEAST_WRONG = 5


@dataclass(frozen=True, eq=False)
class HeadLook:
    """The prediction of one head for the shown part of a tile.

    Attributes:
        name: Of the head.
        clusters: ``(H, W)`` ids, ``-1`` without data.
        classes: ``(H, W)`` after matching, IGNORE without data, and their scores.
    """

    name: str
    clusters: Pixels
    classes: ClassStrip


@dataclass(frozen=True, eq=False)
class TileLook:
    """The shown part of a tile.

    Attributes:
        tile: With the shown part as its window.
        image: ``(H, W, 3)`` in [0, 1], stretched for display.
        truth: ``(H, W)`` reference classes, IGNORE where unknown.
        heads: The default head first; empty without a model.
        mapped: ``(H, W)`` classes of the judged map, or None.
        names: Of the class ids.
    """

    tile: Tile
    image: Pixels
    truth: Pixels
    heads: Sequence[HeadLook] = ()
    mapped: Pixels | None = None
    names: Sequence[str] = TWO_CLASSES.names

    @property
    def many(self) -> bool:
        """Whether there are more classes than background and building."""
        return len(self.names) > 2


def shown_image(
    tile: Tile, nodata: str, *, bands: Sequence[str] | None = None
) -> tuple[Pixels, Pixels]:
    """Return the stretched image, ``(H, W, 3)`` in [0, 1], and ``(H, W)`` valid."""
    pixels, valid = read_colours(tile, nodata, bands=bands)
    return stretch_image(pixels, valid), valid


def story(look: TileLook, *, explain: bool) -> TileStory:
    """Return a tile's pictures: image, reference, clusters and classes of each head.

    Args:
        look: The tile.
        explain: Whether to describe the errors in words.
    """
    name = look.tile.id
    pictures = [
        picture(look.image, side=PANEL_SIDE, alt=f"Image of {name}", caption="image"),
        _reference(look),
    ]
    if look.mapped is not None:
        pictures.append(_judged(look, "map", look.mapped))
    for head in look.heads:
        pictures += [
            _clusters(look, head),
            _judged(look, f"{head.name} map", head.classes.classes),
        ]
    return TileStory(name, pictures, explanation(look) if explain else ())


def _reference(look: TileLook) -> Picture:
    note = words = content_note(look.truth, len(look.names))
    if look.many:
        here = np.unique(look.truth[look.truth != IGNORE]).tolist()
        words = ", ".join(look.names[class_id] for class_id in here)
    return picture(
        paint_map(look.image, look.truth, count=len(look.names)),
        side=PANEL_SIDE,
        alt=f"Reference of {look.tile.id}: {words}",
        caption="reference",
        note=note,
    )


def _clusters(look: TileLook, head: HeadLook) -> Picture:
    used = np.setdiff1d(head.clusters, [-1]).size
    return picture(
        paint_clusters(head.clusters),
        side=PANEL_SIDE,
        alt=f"Clusters of head {head.name} on {look.tile.id}, {used} of them used",
        caption=f"{head.name} clusters",
        note=f"{used} used",
        flat=True,
    )


def _judged(look: TileLook, name: str, classes: Pixels) -> Picture:
    count = len(look.names)
    note = score_note(classes, look.truth, count)
    what = "Classes" if look.many else "Buildings (found, invented, missed)"
    return picture(
        paint_map(look.image, classes, look.truth, count=count),
        side=PANEL_SIDE,
        alt=f"{what} of the {name} on {look.tile.id}. {note}",
        caption=name,
        note=note,
    )


def explanation(look: TileLook) -> tuple[str, ...]:
    """Return sentences on missed and invented pixels, with the clusters behind them."""
    classes, clusters = look.mapped, None
    if classes is None:
        head = look.heads[0]
        classes, clusters = head.classes.classes, head.clusters
    known = look.truth != IGNORE
    if look.many:
        return _confused(look, classes, known, clusters)
    real, called = known & (look.truth == BUILDING), known & (classes == BUILDING)
    sentences = []
    missed, invented = real & ~called, called & ~real
    if real.any():
        share = 100 * missed.sum() / real.sum()
        text = f"{share:.0f} % of the building pixels are missed"
        sentences.append(text + _blame(missed, clusters) + ".")
    if called.any():
        share = 100 * invented.sum() / called.sum()
        text = f"{share:.0f} % of the pixels called building are not"
        sentences.append(text + _blame(invented, clusters) + ".")
    else:
        sentences.append("Nothing is called building.")
    return tuple(sentences)


def _confused(
    look: TileLook, classes: Pixels, known: Pixels, clusters: Pixels | None
) -> tuple[str, ...]:
    """Return a sentence for each reference class on its share of wrong pixels.

    The worst class comes first; classes with few errors are left out.
    """
    sentences = []
    for class_id in np.unique(look.truth[known]).tolist():
        real = known & (look.truth == class_id)
        wrong = real & (classes != class_id) & (classes != IGNORE)
        share = 100 * wrong.sum() / real.sum()
        if share < LEAST_WRONG:
            continue
        most = look.names[int(np.bincount(classes[wrong]).argmax())]
        text = (
            f"{share:.0f} % of {look.names[class_id]} is called something else, mostly "
            f"{most}{_blame(wrong, clusters)}."
        )
        sentences.append((share, text))
    return tuple(text for _, text in sorted(sentences, key=lambda pair: -pair[0]))


def _blame(wrong: Pixels, clusters: Pixels | None) -> str:
    if clusters is None or not wrong.any():
        return ""
    counts = np.bincount(clusters[wrong & (clusters >= 0)])
    if not counts.sum():
        return ""
    worst = int(counts.argmax())
    return f" ({100 * counts[worst] / counts.sum():.0f} % of them in cluster {worst})"


def footprint_picture(
    look: TileLook, source: Path | None, target: int = BUILDING
) -> Picture:
    """Return the image with footprints, and the reference as dashed lines.

    Args:
        look: The tile.
        source: The judged vector file or class raster; None: the default head.
        target: Class whose footprints are shown.
    """
    grid = raster.describe(look.tile.image)
    part = look.tile.extent(grid)
    reference = [
        Outline(_rings(polygon, part), "reference")
        for polygon in read_footprints(look.tile, grid, pixels=True, class_id=target)
    ]
    if source is not None and source.suffix.lower() in VECTOR_SUFFIXES:
        called = replace(look.tile, labels=str(source))
        rings = [_rings(p, part) for p in read_footprints(called, grid, pixels=True)]
    else:
        ids = footprint_ids(tuple(look.names), ())
        classes = look.heads[0].classes.classes if look.mapped is None else look.mapped
        mapped = tile_footprints(classes, grid, part, {target, *ids})[target]
        rings = [_rings(p, part) for p in mapped]
    kind = f"{look.names[target]} " if look.many else ""
    words = counted(len(rings), f"{kind}footprint")
    words += f", {len(reference)} in the reference"
    return picture(
        look.image,
        side=LARGE_SIDE,
        alt=f"{look.tile.id} with {words}",
        caption=look.tile.id,
        note=words,
        outlines=[*(Outline(r, "found") for r in rings), *reference],
    )


def _rings(polygon: Any, part: PixelWindow) -> list[list[tuple[float, float]]]:
    """Return a polygon's rings relative to the shown part."""
    return [
        [(x - part.col, y - part.row) for x, y in ring]
        for ring in _coordinates(polygon)
    ]


def _coordinates(polygon: Any) -> Iterable[list[tuple[float, float]]]:
    rings = polygon.__geo_interface__["coordinates"]
    return [[(float(point[0]), float(point[1])) for point in ring] for ring in rings]


def judged_map(source: Path, tile: Tile, valid: Pixels) -> Pixels:
    """Return the ``(H, W)`` classes of a map over a tile, as they are scored.

    Pixels without data in the image are IGNORE; pixels without data in the map only are
    background.
    """
    classes = JudgedMap(source).classes(tile, raster.describe(tile.image))
    classes = np.where(classes == IGNORE, np.uint8(0), classes)
    return np.where(valid, classes, np.uint8(IGNORE))
