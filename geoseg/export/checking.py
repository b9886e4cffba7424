"""Check an ONNX file against its model, with onnxruntime."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.core.errors import ExportError
from geoseg.export.pixel_graph import FULL_SCALE, INPUT
from geoseg.model.file import Model

#: Largest allowed difference of class probabilities.
TOLERANCE = 1e-4
#: Share of pixels that may change class by rounding, for methods with jumps. It is
#: largest for a forest, whose trees have thousands of thresholds.
MOST_CHANGED = 0.01


def check_graph(
    path: Path,
    model: Model,
    sizes: Sequence[tuple[int, int]],
    *,
    nodata: float | None = None,
) -> float:
    """Compare an ONNX file with its model on noise.

    The model predicts as in ``geoseg predict``, with numpy's normalisation.

    Args:
        path: The ONNX file.
        model: The exported model, on the CPU.
        sizes: Heights and widths to compare.
        nodata: Value of pixels without data, put into a part of the noise.

    Returns:
        The largest difference of a class probability; for methods with jumps, without
        pixels that changed class by rounding.

    Raises:
        ExportError: If the file is not valid ONNX, or differs by more than
            :data:`TOLERANCE`.
    """
    session = _session(path)
    largest = 0.0
    for number, (height, width) in enumerate(sizes):
        pixels, valid = noise(model, height, width, nodata=nodata, seed=number)
        exported = _run(session, pixels)
        expected = _expected(model, pixels, valid)
        if exported.shape != expected.shape:
            raise ExportError(
                f"the graph gives shape {exported.shape} at {height} × {width} pixels, "
                f"expected {expected.shape}: leave out --any-size"
            )
        largest = max(largest, _difference(exported, expected, model.jumps))
    return largest


def _session(path: Path) -> Any:
    """Check a graph with onnx and open it in onnxruntime.

    Raises:
        ExportError: If one of them fails.
    """
    import onnx  # an optional dependency
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4  # its errors are raised as well as logged
    providers = ["CPUExecutionProvider"]
    try:
        onnx.checker.check_model(str(path), full_check=True)
        return onnxruntime.InferenceSession(str(path), settings, providers=providers)
    except Exception as error:  # onnx and onnxruntime have no common base of errors
        raise ExportError(
            f"the graph is not valid ONNX ({error}): this model cannot be exported "
            "with the installed torch, onnx and onnxruntime"
        ) from error


def _run(session: Any, pixels: NDArray[np.float32]) -> Any:
    """Return ``(1, C, H, W)`` probabilities of ``(B, H, W)`` pixels.

    Raises:
        ExportError: If onnxruntime fails.
    """
    try:
        return session.run(None, {INPUT: pixels[None] / np.float32(FULL_SCALE)})[0]
    except Exception as error:  # onnxruntime has no common base of errors
        raise ExportError(
            f"onnxruntime cannot run the graph on {pixels.shape[1]} × "
            f"{pixels.shape[2]} pixels ({error}): choose another --tile-size"
        ) from error


def noise(
    model: Model, height: int, width: int, *, nodata: float | None, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Draw ``(B, H, W)`` pixels from slightly more than the card's stretches.

    A corner has no data: it holds NaN or the nodata value.

    Returns:
        The pixels, and their ``(H, W)`` validity.
    """
    generator = np.random.default_rng(seed)
    stretch = model.card.normalization
    low = np.array(stretch.low)[:, None, None]
    high = np.array(stretch.high)[:, None, None]
    shares = generator.uniform(-0.05, 1.05, (stretch.channels, height, width))
    pixels = (low + shares * (high - low)).astype(np.float32)
    valid = np.ones((height, width), bool)
    valid[: height // 4, : width // 4] = False
    pixels[:, ~valid] = np.nan if nodata is None else nodata
    return pixels, valid


def _expected(model: Model, pixels: NDArray[Any], valid: NDArray[np.bool_]) -> Any:
    image = model.card.normalization(pixels, valid)
    known = torch.from_numpy(valid)
    with torch.no_grad():
        classes = model.decided(model.class_probabilities(image[None], known[None]))
    return (classes * known).numpy()


def _difference(exported: Any, expected: Any, jumps: bool) -> float:
    """Return the largest difference, without pixels that changed class by rounding.

    Raises:
        ExportError: If the largest difference, or too many, exceed the tolerance.
    """
    apart = np.abs(exported - expected).max(axis=1).ravel()
    tipped = apart > TOLERANCE
    share = float(tipped.mean())
    if share > (MOST_CHANGED if jumps else 0.0) or not np.isfinite(apart).all():
        raise ExportError(
            f"the graph's probabilities differ from the model's by up to "
            f"{apart.max():.2g} and by more than {TOLERANCE:g} on {share:.2%} of the "
            "pixels: this model cannot be exported with the installed torch and "
            "onnxruntime"
        )
    return float(apart[~tipped].max(initial=0.0))
