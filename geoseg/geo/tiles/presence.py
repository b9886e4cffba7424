"""What a user names must be there: told before anything heavy is imported.

Remote names and those of archives pass: opening them tells.
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
    """Refuse tiles whose area, images or labels are named and not there.

    Raises:
        DatasetError: If the images are absent, or the area is unknown.
        LabelError: If the labels are absent, or the file that says where they hold.
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
    """Refuse a name that is neither an area of interest nor a folder.

    Raises:
        DatasetError: If it is none.
    """
    known = (*AOIS, SAMPLE)
    if name not in known and not Path(name).is_dir():
        raise DatasetError(
            f"AOI {name!r} is neither known nor a folder{did_you_mean(name, known)}, "
            f"expected one of {', '.join(known)} or a folder"
        )


def need_images(path: str | Path) -> None:
    """Refuse a folder of images that is not there, or one image.

    Raises:
        DatasetError: If it is not.
    """
    if _is_absent(path):
        raise DatasetError(
            f"{path} does not exist, expected a folder of GeoTIFFs or one image"
        )
    if Path(path).suffix.lower() in VECTOR_SUFFIXES:
        raise DatasetError(
            f"{path} is a file of vectors, expected a folder of GeoTIFFs or one image: "
            "were labels and images exchanged?"
        )


def need_labels(path: str | Path) -> None:
    """Refuse labels that are not there.

    Raises:
        LabelError: If they are not.
    """
    if _is_absent(path):
        raise LabelError(f"labels {path} do not exist, expected a folder or one file")


def need_map(path: Path) -> None:
    """Refuse a map that is not there.

    Raises:
        DatasetError: If it is not.
    """
    if not path.exists():
        raise DatasetError(
            f"{path} does not exist, expected footprints, a class raster, or a "
            "folder of class rasters: make them with geoseg predict"
        )


def _is_absent_area(area: str) -> bool:
    """Tell whether it is neither a word that stands for an area nor a file."""
    return area not in ("all", "touched") and _is_absent(area)
