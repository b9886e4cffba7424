"""Maps on disk, read as they are scored: class rasters and files of footprints."""

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
    """A map that lies on disk.

    Args:
        source: A class raster, a folder of them, or a vector file of footprints.

    Attributes:
        vector: Whether it is one of footprints.

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
            grid: Of the tile's image.

        Raises:
            LabelError: If a vector file cannot be read.
            RasterError: If no class raster covers the tile on its grid.
        """
        if self.vector:
            return read_labels(self._as_labels(tile), grid)
        return _read_classes(self._rasters, tile, grid, tile.extent(grid))

    def footprints(self, tile: Tile, grid: RasterDescription) -> list[Polygon]:
        """Return the footprints of a vector file on a tile, in the image's pixels."""
        return read_footprints(self._as_labels(tile), grid, pixels=True)

    def _as_labels(self, tile: Tile) -> Tile:
        # Footprints are read as labels are: same CRS rules, same pixel-centre rule.
        return replace(tile, labels=str(self.source), classes=_called(tile.classes))


def warn_of_other_model(source: Path, model: Path) -> None:
    """Warn of a map that says that it was not made by the model that is named beside it.

    What geoseg predict wrote says it, but for GeoJSON; a map that does not passes.

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
            *(source, "…, ".join(name[:_DIGITS] for name in sorted(others))),
            *(model, own[:_DIGITS]),
        )


def _model_digests(source: Path) -> set[str]:
    """Return the SHA-256 of the models that a map says it was made by."""
    if source.suffix.lower() in VECTOR_SUFFIXES:
        digest = read_provenance(source).get("GEOSEG_MODEL_SHA256")
        return set() if digest is None else {digest}
    found = set()
    for raster in _class_rasters(source):
        with open_raster(raster.path) as dataset:
            found.add(dataset.tags().get("GEOSEG_MODEL_SHA256"))
    return {digest for digest in found if digest is not None}


def warn_of_unmapped(source: Path, missed: npt.NDArray[np.bool_]) -> None:
    """Warn of footprints that hardly lie on the tiles: of other images, perhaps.

    A file of footprints does not say which images were mapped: a tile without any may
    be one that was not.

    Args:
        source: The file of footprints.
        missed: ``(T,)``, of the tiles that have buildings those without a footprint.
    """
    if missed.sum() > 1 and 2 * missed.sum() >= len(missed):
        log.warning(
            "%s has no footprint on %d of %d tiles that have buildings: if it is a map of "
            "other images, score it on its own ones (--images), or map all of them",
            *(source, missed.sum(), len(missed)),
        )


def _called(classes: LabelClasses) -> LabelClasses:
    """Say what footprints on disk mean: building, or what ``class`` says."""
    if classes.names == TWO_CLASSES.names:
        return TWO_CLASSES
    named = tuple((value_key(n), i) for i, n in enumerate(classes.names) if i)
    return LabelClasses(classes.names, named, rest=BACKGROUND, field="class")


def _class_rasters(prediction: Path) -> list[RasterDescription]:
    """Describe the class raster, or those of a folder."""
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
    """Read the tile's part of the class raster that covers it."""
    stem = re.escape(Path(tile.image).stem)
    named = [
        r for r in rasters if re.match(rf"{stem}(?![0-9A-Za-z])", Path(r.path).stem)
    ]
    # Without a CRS every image lies at the same place: only names tell them apart.
    candidates = named or (rasters if grid.crs or len(rasters) == 1 else [])
    for raster in candidates:
        area = _shared_window(raster, grid, extent)
        if area is not None:
            return _checked_classes(raster, area, tile.classes)
    what = (candidates or rasters)[0].path
    raise RasterError(
        f"no class raster covers tile {tile.id} on the grid of {tile.image} (looked at "
        f"{len(candidates)}, {what} first); expected the same CRS and pixels, as geoseg "
        "predict --raster writes"
    )


def _shared_window(
    raster: RasterDescription, grid: RasterDescription, extent: PixelWindow
) -> PixelWindow | None:
    """Return where the tile lies in the raster; None if off its grid or outside."""
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
    """Read class ids from a class raster's values."""
    if raster.count != 1 or not np.issubdtype(np.dtype(raster.dtypes[0]), np.integer):
        raise RasterError(
            f"{raster.path} has {raster.count} bands of {raster.dtypes[0]}, expected a "
            "class raster: one band of whole numbers"
        )
    with open_raster(raster.path) as dataset:
        pixels, valid = read_window(dataset, raster.band_indexes, area)
        ids = _meanings(dataset.tags(), classes)
    values = pixels[0]
    if raster.nodata != IGNORE and IGNORE not in ids:
        _check_not_255(raster, values)
    found = np.full(values.shape, IGNORE, np.uint8)
    known = ~valid | (values == IGNORE)
    for value, class_id in ids.items():
        found[valid & (values == value)] = class_id
        known |= values == value
    if not known.all():
        expected = ", ".join(f"{v} ({classes.names[c]})" for v, c in ids.items())
        raise RasterError(
            f"{raster.path} holds value {values[~known][0]}, expected class ids {expected} and "
            f"{IGNORE} for nodata: name the classes with --classes"
        )
    return found


def _check_not_255(raster: RasterDescription, values: npt.NDArray[np.generic]) -> None:
    """Refuse a map of 0 and 255, as other tools write them, for which 255 is nodata."""
    if only_0_and_255(raster.path, values):
        raise RasterError(
            f"{raster.path} holds 0 and 255 alone and does not say that 255 is nodata, "
            f"expected {BUILDING} for buildings: if 255 is building, write "
            f"{BUILDING} in its place (gdal_translate -ot Byte -scale 0 255 0 1), else "
            "declare it (gdal_edit.py -a_nodata 255)"
        )


def _meanings(tags: Mapping[str, str], classes: LabelClasses) -> dict[int, int]:
    """Return the class id of each value: by the names in geoseg's tags, else as labels."""
    named = {
        int(key.removeprefix("CLASS_")): name
        for key, name in tags.items()
        if re.fullmatch(r"CLASS_\d+", key)
    }
    if named:
        named[BACKGROUND] = classes.names[BACKGROUND]  # whatever it is called
        return {
            value: classes.names.index(name)
            for value, name in sorted(named.items())
            if name in classes.names
        }
    if classes.any_building:
        return {BACKGROUND: BACKGROUND, BUILDING: BUILDING}
    return {int(number): class_id for number, class_id in classes.numbers}
