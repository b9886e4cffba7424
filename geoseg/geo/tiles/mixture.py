"""Warnings and errors about tiles that differ from one another.

Every tile is read on its own grid, and bands are chosen by name, so tiles may differ in
size, CRS, pixel size, type and band order. Tiles whose values cannot be compared are
refused: values in other units, or of another type and range.
"""

import logging
from collections.abc import Callable, Hashable, Sequence
from pathlib import PurePath

import numpy as np

from geoseg.core.errors import DatasetError
from geoseg.geo.coordinates.crs import same_crs
from geoseg.geo.rasters.description import RasterDescription
from geoseg.geo.rasters.inspection import sample, warn_of_alpha, warn_of_pages
from geoseg.geo.rasters.nodata import NodataRule
from geoseg.geo.rasters.raster import describe
from geoseg.geo.tiles.tiles import Tile

log = logging.getLogger(__name__)

#: Pixel sizes count as equal up to this ratio; in degrees they vary with latitude.
GSD_RATIO = 1.1
#: Images of different types are refused if their largest values differ by more than
#: this factor. Scenes of one sensor differ by less. The factor is 8 between 11 and 8
#: bit, 256 between 16 and 8 bit, and 10 000 between reflectance as counts and as
#: fractions.
RANGE_FACTOR = 4.0
#: Number of sampled images of each type, and of sampled pixels along a side of each.
SAMPLE_IMAGES, SAMPLE_SIDE = 12, 128


def check_mixture(tiles: Sequence[Tile], nodata: NodataRule = "auto") -> None:
    """Warn once about differences between tiles, with counts.

    Raises:
        DatasetError: If some have a CRS and others none, their bands declare different
            scales and offsets, or tiles of one type have another range than the others.
    """
    images = {tile.image: describe(tile.image) for tile in tiles}
    grids = list(images.values())
    if any(grid.crs for grid in grids) and not all(grid.crs for grid in grids):
        bare = [grid for grid in grids if grid.crs is None]
        raise DatasetError(
            f"{len(bare)} of {len(grids)} images have no CRS, or no geotransform, among "
            f"them {bare[0].path}, expected all or none: set it with gdal_edit.py -a_srs "
            "(-a_ullr)"
        )
    scalings = _groups(grids, lambda grid: grid.scaling)
    if len(scalings) > 1:
        odd = scalings[-1][0]
        raise DatasetError(
            f"{odd.path} declares (scale, offset) {odd.scaling[0]}, "
            f"{scalings[0][0].path} {scalings[0][0].scaling[0]}, expected one meaning of "
            "the values: apply them with gdal_translate -unscale -ot Float32"
        )
    _check_ranges(_groups(grids, _types), nodata)
    for grid in grids:
        warn_of_pages(grid)
    warn_of_alpha(grids[:: -(-len(grids) // SAMPLE_IMAGES)])
    differences = mixture(grids)
    if differences:
        log.warning(
            "the images differ: %s; each is read on its own grid, and all share one "
            "stretch per band",
            "; ".join(differences),
        )


def mixture(grids: Sequence[RasterDescription]) -> list[str]:
    """Describe the differences between images: pixel size, CRS, type and bands."""
    sizes = _gsd_classes(grids)
    differences = {
        "pixels of": _groups(grids, lambda grid: sizes.get(grid.gsd_m)),
        "CRS": _groups_of_crs(grids),
        "type": _groups(grids, _types),
        "bands": _groups(grids, lambda grid: frozenset(grid.band_names)),
    }
    labels: dict[str, Callable[[RasterDescription], str]] = {
        "pixels of": lambda grid: (
            f"{grid.gsd_m:.3g} m" if grid.gsd_m else "unknown size"
        ),
        "CRS": lambda grid: grid.crs.to_string() if grid.crs else "none",
        "type": _types,
        "bands": lambda grid: " ".join(grid.band_names),
    }
    return [
        f"{name} " + ", ".join(_counted(group, labels[name]) for group in groups)
        for name, groups in differences.items()
        if len(groups) > 1
    ]


def _types(grid: RasterDescription) -> str:
    return " ".join(dict.fromkeys(grid.dtypes))


def _check_ranges(kinds: list[list[RasterDescription]], nodata: NodataRule) -> None:
    """Raise if images of different types have different ranges of values.

    8-bit tiles are often a stretched copy of 16-bit ones, or floats are reflectances
    and integers counts. One stretch for both would make one of them all black or white.
    """
    if len(kinds) < 2:
        return
    reaches = [_reach(kind, nodata) for kind in kinds]
    for kind, reach in zip(kinds[1:], reaches[1:], strict=True):
        if reach and reaches[0] and not _alike(reach, reaches[0]):
            raise DatasetError(
                f"{_named(kind)} {_types(kind[0])} with values up to {reach:.4g}, "
                f"{_named(kinds[0])} {_types(kinds[0][0])} up to {reaches[0]:.4g}, "
                "expected one scale: put them in folders of their own, or bring them to "
                "one with gdal_translate -ot … -scale …"
            )


def _alike(first: float, second: float) -> bool:
    return 1 / RANGE_FACTOR <= first / second <= RANGE_FACTOR


def _reach(grids: Sequence[RasterDescription], nodata: NodataRule) -> float:
    """Return percentile 99 of the absolute values; 0 without a valid pixel."""
    step = -(-len(grids) // SAMPLE_IMAGES)
    samples = [sample(grid, nodata=nodata, side=SAMPLE_SIDE) for grid in grids[::step]]
    values = [
        np.abs(pixels[:, valid].ravel().astype(float)) for pixels, valid in samples
    ]
    together = np.concatenate(values)
    return float(np.percentile(together, 99)) if len(together) else 0.0


def _named(kind: Sequence[RasterDescription]) -> str:
    others = f" and {len(kind) - 1} more hold" if len(kind) > 1 else " holds"
    return kind[0].path + others


def _groups(
    grids: Sequence[RasterDescription], key: Callable[[RasterDescription], Hashable]
) -> list[list[RasterDescription]]:
    """Group images by a key, the largest group first."""
    groups: dict[Hashable, list[RasterDescription]] = {}
    for grid in grids:
        groups.setdefault(key(grid), []).append(grid)
    return sorted(groups.values(), key=len, reverse=True)


def _groups_of_crs(
    grids: Sequence[RasterDescription],
) -> list[list[RasterDescription]]:
    """Group images by CRS, also if their files write it differently; largest first."""
    groups: list[list[RasterDescription]] = []
    for group in _groups(grids, lambda grid: grid.crs and grid.crs.to_wkt()):
        alike = [own for own in groups if same_crs(own[0].crs, group[0].crs)]
        if alike:
            alike[0].extend(group)
        else:
            groups.append(group)
    return sorted(groups, key=len, reverse=True)


def _gsd_classes(grids: Sequence[RasterDescription]) -> dict[float | None, float]:
    """Map each pixel size to the smallest size that counts as equal."""
    classes: dict[float | None, float] = {}
    first = 0.0
    for size in sorted({grid.gsd_m for grid in grids if grid.gsd_m}):
        if size > first * GSD_RATIO:
            first = size
        classes[size] = first
    return classes


def _counted(
    group: list[RasterDescription], label: Callable[[RasterDescription], str]
) -> str:
    example = "" if len(group) > 1 else f": {PurePath(group[0].path).name}"
    return f"{label(group[0])} ({len(group)}{example})"
