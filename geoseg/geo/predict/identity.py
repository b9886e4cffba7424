"""Identity of a prediction: runs of equal identity give the same map, bit for bit."""

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

#: Number of samples a side of a remote image, and pixels a side of a sample.
_PLACES, _SIDE = 5, 8


def run_identity(
    model: Model, grids: Sequence[RasterDescription], options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return all inputs that determine a prediction, as plain JSON values.

    Args:
        model: the model; its weights and its card are hashed.
        grids: the images.
        options: options of the prediction.
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
    # plain JSON, for comparison with a manifest
    plain: dict[str, Any] = json.loads(json.dumps(identity))
    return plain


def _folding(model: Model) -> dict[str, str]:
    """Mark folded batch normalisations, because older versions did not fold them."""
    changed = model.method.for_prediction() is not model.method
    return {"batch_norms": "folded"} if changed else {}


def signature_of(identity: Mapping[str, Any]) -> str:
    """Return the hash of an identity."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def device_of(model: Model) -> str:
    """Return the type of the device that a model computes on."""
    return str(next(iter(model.method.state_dict().values())).device.type)


def model_digest(model: Model) -> str:
    """Return the hash of a model's weights and card."""
    digest = hashlib.sha256(json.dumps(model.card.to_json(), sort_keys=True).encode())
    weights = {
        prefix + name: tensor
        for prefix, method in {"": model.method, **model.books}.items()
        for name, tensor in method.state_dict().items()
    }
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).numpy().tobytes())
    return digest.hexdigest()


def place_of(path: str) -> str:
    """Return the absolute path, or the address without secrets, of an image."""
    return os.path.abspath(path) if os.path.exists(path) else redact(path)


def image_identity(grid: RasterDescription) -> str:
    """Return a hash that changes if an image changes.

    It covers the image's metadata and, for local files (including a mosaic's sources),
    sizes and times of change; for remote images, samples of pixels.

    Raises:
        RasterError: If the image cannot be read.
    """
    digest = hashlib.sha256(repr(replace(grid, path="")).encode())
    with open_raster(grid.path) as dataset:
        # QGIS writes .aux.xml files when it shows an image, which does not change it
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
