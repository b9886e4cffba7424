"""Describe a file or folder, and what geoseg would do with it."""

from pathlib import Path
from typing import TYPE_CHECKING

from geoseg.core.addresses import is_remote
from geoseg.core.errors import DatasetError

# imported as a module, because its rasters() would clash with geoseg.info.rasters
from geoseg.geo.tiles import layouts
from geoseg.geo.tiles.layouts import IMAGE_SUFFIXES, TABLE_SUFFIXES, VECTOR_SUFFIXES
from geoseg.info.sheet import Sheet
from geoseg.runs.folders import is_run
from geoseg.runs.settings import RunSettings

if TYPE_CHECKING:
    from geoseg.model.card import ModelCard

_EXPECTED = "an image, a folder of images, a vector file, a model or a run"
#: Archives that GDAL reads without unpacking → GDAL's prefix for their contents.
_ARCHIVES = {
    ".zip": "/vsizip/",
    ".tar": "/vsitar/",
    ".gz": "/vsitar/",
    ".tgz": "/vsitar/",
}
#: First bytes of TIFF and BigTIFF files, in either byte order.
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def inspect(
    path: str, settings: RunSettings = RunSettings(), card: "ModelCard | None" = None
) -> Sheet:
    """Describe an image, a folder of images, a vector file, a model, a run or runs.

    Modules are imported only for the kind that needs them, so that a wrong path is
    reported at once.

    Args:
        path: A path, or the URL of a remote image or folder.
        settings: Options of ``geoseg train``.
        card: Of a model to compare the images with.

    Raises:
        GeosegError: If the path cannot be read, or is none of these.
    """
    local, suffix = Path(path), Path(path).suffix.lower()
    if is_remote(path):
        if suffix in IMAGE_SUFFIXES:
            return _image(path, settings, card)
        return _folder(path, settings, card)
    if not local.exists():
        raise DatasetError(f"{path} does not exist, expected {_EXPECTED}")
    if local.is_dir():
        if is_run(local):
            from geoseg.info.runs import run_sheet

            return run_sheet(local)
        if not layouts.rasters(local) and any(map(is_run, local.iterdir())):
            from geoseg.info.run_list import runs_sheet

            return runs_sheet(local)
        return _folder(path, settings, card)
    if suffix == ".safetensors":
        from geoseg.info.models import model_sheet

        return model_sheet(local)
    if suffix in (*VECTOR_SUFFIXES, *TABLE_SUFFIXES):
        from geoseg.info.vectors import vector_sheet

        return vector_sheet(local)
    if suffix == ".txt":  # a list of images
        return _folder(path, settings, card)
    if suffix in _ARCHIVES:
        raise DatasetError(
            f"{path} is an archive, expected {_EXPECTED}: unpack it, or look into it "
            f"with geoseg info {_ARCHIVES[suffix]}{path}"
        )
    if suffix not in IMAGE_SUFFIXES and not _is_tiff(local):
        raise DatasetError(
            f"{path} is not an image that geoseg reads, expected {_EXPECTED}"
        )
    return _image(path, settings, card)


def _is_tiff(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in _TIFF


def _image(path: str, settings: RunSettings, card: "ModelCard | None") -> Sheet:
    from geoseg.info.images import image_sheet

    return image_sheet(path, settings, card)


def _folder(path: str, settings: RunSettings, card: "ModelCard | None") -> Sheet:
    from geoseg.info.folders import folder_sheet

    return folder_sheet(path, settings, card)
