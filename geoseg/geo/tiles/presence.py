"""Checks that named inputs exist, before anything heavy is imported.

Remote names and names in archives are checked when they are opened.
"""

from pathlib import Path

from geoseg.core.addresses import _is_absent
from geoseg.core.errors import DatasetError, LabelError
from geoseg.core.words import did_you_mean
from geoseg.geo.tiles.catalogue import AOIS
from geoseg.geo.tiles.layouts import VECTOR_SUFFIXES

#: The area whose tiles come with the repository.
SAMPLE = "sample"


def need_tiles(
    images: str | None,
    labels: str | None,
    aoi: str | None,
    labelled_area: str | None = None,
) -> None:
    """Raise if a named area, or named images or labels, do not exist.

    Raises:
        DatasetError: If the images are absent, or the area is unknown.
        LabelError: If the labels or the file of the labelled area are absent.
    """
    if aoi is not None:
        need_aoi(aoi)
    if images is not None:
        need_images(images)
    if labels is not None:
        need_labels(labels)
    if labelled_area is not None and _is_absent_area(labelled_area):
        raise LabelError(
            f"labelled area {labelled_area} does not exist, expected a vector file of "
            "polygons, all or touched"
        )


def need_aoi(name: str) -> None:
    """Raise if a name is neither an area of interest nor a folder.

    Raises:
        DatasetError: If it is neither.
    """
    known = (*AOIS, SAMPLE)
    if name not in known and not Path(name).is_dir():
        raise DatasetError(
            f"AOI {name!r} is neither known nor a folder{did_you_mean(name, known)}, "
            f"expected one of {', '.join(known)} or a folder"
        )


def need_images(path: str | Path) -> None:
    """Raise if a folder of images, or an image, does not exist.

    Raises:
        DatasetError: If it does not, or is a vector file.
    """
    if _is_absent(path):
        raise DatasetError(
            f"{path} does not exist, expected a folder of GeoTIFFs or one image"
        )
    if Path(path).suffix.lower() in VECTOR_SUFFIXES:
        raise DatasetError(
            f"{path} is a vector file, expected a folder of GeoTIFFs or one image: "
            "were labels and images exchanged?"
        )


def need_labels(path: str | Path) -> None:
    """Raise if labels do not exist.

    Raises:
        LabelError: If they do not.
    """
    if _is_absent(path):
        raise LabelError(f"labels {path} do not exist, expected a folder or one file")


def need_map(path: Path) -> None:
    """Raise if a map does not exist.

    Raises:
        DatasetError: If it does not.
    """
    if not path.exists():
        raise DatasetError(
            f"{path} does not exist, expected footprints, a class raster, or a "
            "folder of class rasters: make them with geoseg predict"
        )


def _is_absent_area(area: str) -> bool:
    """Tell whether a labelled area is neither ``all`` nor ``touched`` nor a file."""
    return area not in ("all", "touched") and _is_absent(area)
