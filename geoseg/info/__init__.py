"""What geoseg sees in a file or folder, and what it would do with it."""

from pathlib import Path

from geoseg.errors import DatasetError
from geoseg.geo.layouts import IMAGE_SUFFIXES, VECTOR_SUFFIXES
from geoseg.geo.remote import is_remote
from geoseg.info.images import Choices as Choices
from geoseg.info.images import folder_sheet, image_sheet
from geoseg.info.models import model_sheet, run_sheet
from geoseg.info.sheet import Sheet as Sheet
from geoseg.info.vectors import vector_sheet
from geoseg.model import MODEL_NAME, ModelCard
from geoseg.run_files import SETTINGS_NAME


def inspect(
    path: str, choices: Choices = Choices(), card: ModelCard | None = None
) -> Sheet:
    """Look at an image, a folder of images, a vector file, a model or a run.

    Args:
        path: A path, or the name of a remote image or folder.
        choices: What ``geoseg train`` would be told.
        card: Of the model that images are to fit.

    Raises:
        GeosegError: If it cannot be read, or is none of these.
    """
    local = Path(path)
    if is_remote(path):
        one = local.suffix.lower() in IMAGE_SUFFIXES
        return (image_sheet if one else folder_sheet)(path, choices, card)
    if local.is_dir():
        if (local / MODEL_NAME).exists() or (local / SETTINGS_NAME).exists():
            return run_sheet(local)
        return folder_sheet(path, choices, card)
    if not local.exists():
        raise DatasetError(
            f"{path} does not exist, expected an image, a folder of images, a vector "
            "file, a model or a run"
        )
    if local.suffix.lower() == ".safetensors":
        return model_sheet(local)
    if local.suffix.lower() in VECTOR_SUFFIXES:
        return vector_sheet(local)
    return image_sheet(path, choices, card)
