"""Reading of maps to be scored: class rasters and files of footprints."""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from shapely import Polygon

from geoseg.core.classes import (
    BACKGROUND,
    BUILDING,
    TWO_CLASSES,
    LabelClasses,
    value_key,
)
from geoseg.core.errors import RasterError
from geoseg.core.patches import IGNORE
from geoseg.geo.coordinates.crs import same_crs
from geoseg.geo.coordinates.georeference import grids_agree, locate, shift
from geoseg.geo.formats.provenance import read_provenance
from geoseg.geo.labels.labels import read_footprints, read_labels
from geoseg.geo.labels.masks import only_0_and_255
from geoseg.geo.rasters.description import PixelWindow, RasterDescription
from geoseg.geo.rasters.raster import describe, open_raster, read_window
from geoseg.geo.tiles.layouts import IMAGE_SUFFIXES, VECTOR_SUFFIXES
from geoseg.geo.tiles.tiles import Tile
from geoseg.model.file import file_sha256

log = logging.getLogger(__name__)

Classes = npt.NDArray[np.uint8]

#: Hexadecimal digits of a digest that a message shows.
_DIGITS = 8


class JudgedMap:
    """A map on disk.

    Args:
        source: A class raster, a folder of them, or a vector file of footprints.

    Attributes:
        vector: Whether it is a vector file of footprints.

    Raises:
        RasterError: If there is no class raster.
    """

    def __init__(self, source: Path) -> None:
        self.source = source
        self.vector = source.suffix.lower() in VECTOR_SUFFIXES
        self._rasters = [] if self.vector else _class_rasters(source)

    def classes(self, tile: Tile, grid: RasterDescription) -> Classes:
        """Return the ``(H, W)`` class ids of a tile, IGNORE where a raster has no data.

        Args:
            tile: Its window is read; its classes name the map's values.
            grid: Grid of the tile's image.

        Raises:
            LabelError: If a vector file cannot be read.
            RasterError: If no class raster covers the tile on its grid.
        """
        if self.vector:
            return read_labels(self._as_labels(tile), grid)
        return _read_classes(self._rasters, tile, grid, tile.extent(grid))

    def footprints(self, tile: Tile, grid: RasterDescription) -> list[Polygon]:
        """Return the footprints of a vector file on a tile, in pixel coordinates."""
        return read_footprints(self._as_labels(tile), grid, pixels=True)

    def _as_labels(self, tile: Tile) -> Tile:
        # Read as labels, so that the same CRS and pixel-centre rules apply.
        return replace(tile, labels=str(self.source), classes=_called(tile.classes))


def warn_of_other_model(source: Path, model: Path) -> None:
    """Warn if a map's metadata names another model than the given one.

    ``geoseg predict`` writes the model's digest into all formats but GeoJSON; a map
    without it passes.

    Args:
        source: A class raster, a folder of them, or a vector file of footprints.
        model: A model file.

    Raises:
        RasterError: If there is no class raster, or it cannot be read.
    """
    own = file_sha256(model)
    others = {name for name in _model_digests(source) if name != own}
    if others:
        log.warning(
            "%s was made by another model (SHA-256 %s…) than %s (%s…), or before that was "
            "matched or trained again: the tiles left out and the controls are those of "
            "the latter",
            source,
            "…, ".join(name[:_DIGITS] for name in sorted(others)),
            model,
            own[:_DIGITS],
        )


def _model_digests(source: Path) -> set[str]:
    """Return the SHA-256 digests of models in a map's metadata."""
    if source.suffix.lower() in VECTOR_SUFFIXES:
        digest = read_provenance(source).get("GEOSEG_MODEL_SHA256")
        return set() if digest is None else {digest}
    digests = set()
    for raster in _class_rasters(source):
        with open_raster(raster.path) as dataset:
            digests.add(dataset.tags().get("GEOSEG_MODEL_SHA256"))
    return {digest for digest in digests if digest is not None}


def warn_of_unmapped(source: Path, missed: npt.NDArray[np.bool_]) -> None:
    """Warn if half of the tiles with buildings have no footprint.

    A file of footprints does not name the mapped images, so such tiles may not have been
    mapped at all.

    Args:
        source: The file of footprints.
        missed: ``(T,)`` for the tiles with buildings: True where there is no footprint.
    """
    if missed.sum() > 1 and 2 * missed.sum() >= len(missed):
        log.warning(
            "%s has no footprint on %d of %d tiles that have buildings: if it is a map of "
            "other images, score it on its own ones (--images), or map all of them",
            source,
            missed.sum(),
            len(missed),
        )


def _called(classes: LabelClasses) -> LabelClasses:
    """Return the classes of footprints on disk: building, or those of ``class``."""
    if classes.names == TWO_CLASSES.names:
        return TWO_CLASSES
    named = tuple((value_key(n), i) for i, n in enumerate(classes.names) if i)
    return LabelClasses(classes.names, named, rest=BACKGROUND, field="class")


def _class_rasters(prediction: Path) -> list[RasterDescription]:
    """Describe a class raster, or all in a folder."""
    if prediction.is_dir():
        paths = sorted(
            path
            for path in prediction.iterdir()
            if path.suffix.lower() in IMAGE_SUFFIXES
        )
        if not paths:
            raise RasterError(
                f"no class raster in {prediction}, expected {', '.join(IMAGE_SUFFIXES)}"
            )
    elif prediction.suffix.lower() in IMAGE_SUFFIXES:
        paths = [prediction]
    else:
        raise RasterError(
            f"{prediction} ends in {prediction.suffix!r}, expected class rasters "
            f"({', '.join(IMAGE_SUFFIXES)}), a folder of them, or footprints "
            f"({', '.join(VECTOR_SUFFIXES)})"
        )
    return [describe(path) for path in paths]


def _read_classes(
    rasters: Sequence[RasterDescription],
    tile: Tile,
    grid: RasterDescription,
    extent: PixelWindow,
) -> Classes:
    """Read a tile's window from the class raster that covers it."""
    stem = re.escape(Path(tile.image).stem)
    named = [
        r for r in rasters if re.match(rf"{stem}(?![0-9A-Za-z])", Path(r.path).stem)
    ]
    # Without a CRS all images lie at the same place, so only names identify them.
    candidates = named or (rasters if grid.crs or len(rasters) == 1 else [])
    for raster in candidates:
        area = _shared_window(raster, grid, extent)
        if area is not None:
            return _checked_classes(raster, area, tile.classes)
    first = (candidates or rasters)[0].path
    raise RasterError(
        f"no class raster covers tile {tile.id} on the grid of {tile.image} (checked "
        f"{len(candidates)}, {first} first); expected the same CRS and pixels, as geoseg "
        "predict --raster writes"
    )


def _shared_window(
    raster: RasterDescription, grid: RasterDescription, extent: PixelWindow
) -> PixelWindow | None:
    """Return the tile's window in a raster; None if off its grid or outside."""
    if not same_crs(raster.crs, grid.crs):
        return None
    row, col, height, width = extent
    corner = locate(grid.transform, col, row)
    left, top = (round(value) for value in locate(~raster.transform, *corner))
    own, tiles = shift(raster.transform, left, top), shift(grid.transform, col, row)
    if not grids_agree(own, tiles, width, height):
        return None
    inside = 0 <= top <= raster.height - height and 0 <= left <= raster.width - width
    return PixelWindow(top, left, height, width) if inside else None


def _checked_classes(
    raster: RasterDescription, area: PixelWindow, classes: LabelClasses
) -> Classes:
    """Read class ids from the values of a class raster."""
    if raster.count != 1 or not np.issubdtype(np.dtype(raster.dtypes[0]), np.integer):
        raise RasterError(
            f"{raster.path} has {raster.count} bands of {raster.dtypes[0]}, expected a "
            "class raster: one band of integers"
        )
    with open_raster(raster.path) as dataset:
        pixels, valid = read_window(dataset, raster.band_indexes, area)
        ids = _meanings(dataset.tags(), classes)
    values = pixels[0]
    if raster.nodata != IGNORE and IGNORE not in ids:
        _check_not_255(raster, values)
    classes_read = np.full(values.shape, IGNORE, np.uint8)
    known = ~valid | (values == IGNORE)
    for value, class_id in ids.items():
        classes_read[valid & (values == value)] = class_id
        known |= values == value
    if not known.all():
        expected = ", ".join(f"{v} ({classes.names[c]})" for v, c in ids.items())
        raise RasterError(
            f"{raster.path} holds value {values[~known][0]}, expected class ids {expected} "
            f"and {IGNORE} for nodata: name the classes with --classes"
        )
    return classes_read


def _check_not_255(raster: RasterDescription, values: npt.NDArray[np.generic]) -> None:
    """Raise if a map holds only 0 and 255, which other tools write for building."""
    if only_0_and_255(raster.path, values):
        raise RasterError(
            f"{raster.path} holds only 0 and 255 and does not declare 255 as nodata, "
            f"expected {BUILDING} for buildings: if 255 is building, replace it by "
            f"{BUILDING} (gdal_translate -ot Byte -scale 0 255 0 1), else declare it as "
            "nodata (gdal_edit.py -a_nodata 255)"
        )


def _meanings(tags: Mapping[str, str], classes: LabelClasses) -> dict[int, int]:
    """Return the class id of each value, by geoseg's tags, else as in labels."""
    named = {
        int(key.removeprefix("CLASS_")): name
        for key, name in tags.items()
        if re.fullmatch(r"CLASS_\d+", key)
    }
    if named:
        named[BACKGROUND] = classes.names[BACKGROUND]  # whatever its name in the tags
        return {
            value: classes.names.index(name)
            for value, name in sorted(named.items())
            if name in classes.names
        }
    if classes.any_building:
        return {BACKGROUND: BACKGROUND, BUILDING: BUILDING}
    return {int(number): class_id for number, class_id in classes.numbers}
