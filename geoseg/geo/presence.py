"""What a user names must be there: told before anything heavy is imported.

Remote names and those of archives pass: opening them tells.
"""

from pathlib import Path

from geoseg.errors import DatasetError, LabelError, RasterError
from geoseg.geo.layouts import is_remote


def need_image(path: str | Path) -> None:
    """Refuse an image that is not there.

    Raises:
        RasterError: If it is not.
    """
    if _is_absent(path):
        raise RasterError(f"{path} does not exist, expected a GeoTIFF or VRT file")


def need_tiles(images: str | None, labels: str | None) -> None:
    """Refuse tiles whose images or labels are named and not there.

    Raises:
        DatasetError: If the images are absent.
        LabelError: If the labels are.
    """
    if images is not None:
        need_images(images)
    if labels is not None:
        need_labels(labels)


def need_images(path: str | Path) -> None:
    """Refuse a folder of images that is not there, or one image.

    Raises:
        DatasetError: If it is not.
    """
    if _is_absent(path):
        raise DatasetError(
            f"{path} does not exist, expected a folder of GeoTIFFs or one image"
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


def _is_absent(path: str | Path) -> bool:
    return not is_remote(path) and not Path(path).exists()
