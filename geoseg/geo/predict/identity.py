"""What decides the bits of a prediction: two runs of one identity give the same map."""

import hashlib
import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import rasterio
import torch

import geoseg
from geoseg.core.addresses import redact
from geoseg.geo.rasters.description import PixelWindow, RasterDescription
from geoseg.geo.rasters.raster import open_raster, read_window
from geoseg.model.file import Model

#: Places a side at which an image that is no local file is looked at, and pixels a side
#: that are read there.
_PLACES, _SIDE = 5, 8


def run_identity(
    model: Model, grids: Sequence[RasterDescription], options: Mapping[str, Any]
) -> dict[str, Any]:
    """Describe all that decides what is predicted, as plain JSON values.

    Args:
        model: its weights and its card are hashed.
        grids: the images.
        options: of the prediction.
    """
    identity = {
        "geoseg": geoseg.__version__,
        "torch": str(torch.__version__),
        "processor": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        "device": device_of(model),
        "threads": torch.get_num_threads(),
        "model": model_digest(model),
        **_folding(model),
        "quantize": False,  # an option until 2026: maps stopped without it go on
        **options,
        "images": {place_of(grid.path): image_identity(grid) for grid in grids},
    }
    # as it comes back from the manifest
    plain: dict[str, Any] = json.loads(json.dumps(identity))
    return plain


def _folding(model: Model) -> dict[str, str]:
    """Tell from an older geoseg, which predicted with the network as it was trained."""
    changed = model.method.for_prediction() is not model.method
    return {"batch_norms": "folded"} if changed else {}


def signature_of(identity: Mapping[str, Any]) -> str:
    """Hash an identity."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def device_of(model: Model) -> str:
    """Name the device that a model computes on."""
    return str(next(iter(model.method.state_dict().values())).device.type)


def model_digest(model: Model) -> str:
    """Hash the weights of a model and its card."""
    digest = hashlib.sha256(json.dumps(model.card.to_json(), sort_keys=True).encode())
    for name, tensor in sorted(model.method.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).numpy().tobytes())
    return digest.hexdigest()


def place_of(path: str) -> str:
    """Name an image the same from any folder, and with any signature."""
    return os.path.abspath(path) if os.path.exists(path) else redact(path)


def image_identity(grid: RasterDescription) -> str:
    """Hash what tells whether an image has changed.

    Its grid. Of local files, those of a mosaic too, sizes and times of change; of
    anything else, some pixels all over it.

    Raises:
        RasterError: If the image cannot be read.
    """
    digest = hashlib.sha256(repr(replace(grid, path="")).encode())
    with open_raster(grid.path) as dataset:
        # what QGIS notes beside an image when it shows it does not change the image
        files = [name for name in dataset.files if not name.endswith(".aux.xml")]
        if files and all(os.path.exists(name) for name in files):
            for name in files:
                about = os.stat(name)
                row = os.path.basename(name), about.st_size, about.st_mtime_ns
                digest.update(repr(row).encode())
        else:
            for pixels in _samples(dataset):
                digest.update(np.ascontiguousarray(pixels).tobytes())
    return digest.hexdigest()


def _samples(dataset: rasterio.DatasetReader) -> Iterator[np.ndarray[Any, Any]]:
    height, width = min(_SIDE, dataset.height), min(_SIDE, dataset.width)
    for row in np.linspace(0, dataset.height - height, _PLACES, dtype=int):
        for column in np.linspace(0, dataset.width - width, _PLACES, dtype=int):
            window = PixelWindow(int(row), int(column), height, width)
            yield read_window(dataset, dataset.indexes, window, nodata="none")[0]
