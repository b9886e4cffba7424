"""Whether an ONNX file does what its model does, as onnxruntime runs it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.core.errors import ExportError
from geoseg.export.pixel_graph import FULL_SCALE, INPUT
from geoseg.model.file import Model

#: How far class probabilities may lie apart.
TOLERANCE = 1e-4
#: Share of the pixels that rounding may tip over, of methods that jump. A forest, whose
#: trees ask thousands of times, is the worst of them.
TIPPED = 0.01


def check_graph(
    path: Path,
    model: Model,
    sizes: Sequence[tuple[int, int]],
    *,
    nodata: float | None = None,
) -> float:
    """Compare a file with its model on noise.

    The model is asked as ``geoseg predict`` asks it, through numpy's normalisation.

    Args:
        path: The ONNX file.
        model: What it was made of, on the CPU.
        sizes: Heights and widths to compare at.
        nodata: Value of pixels without data, some of which the noise then has.

    Returns:
        The largest difference of a class probability; with methods that jump, of the
        pixels that rounding did not tip over.

    Raises:
        ExportError: If the file is no valid ONNX, or differs by more than
            :data:`TOLERANCE`.
    """
    session = _session(path)
    largest = 0.0
    for number, (height, width) in enumerate(sizes):
        pixels, valid = noise(model, height, width, nodata=nodata, seed=number)
        found = _run(session, pixels)
        expected = _expected(model, pixels, valid)
        if found.shape != expected.shape:
            raise ExportError(
                f"the graph gives shape {found.shape} at {height} × {width} pixels, "
                f"expected {expected.shape}: leave out --any-size"
            )
        largest = max(largest, _difference(found, expected, model.method.jumps))
    return largest


def _session(path: Path) -> Any:
    """Open a graph in onnxruntime, after onnx has looked at it.

    Raises:
        ExportError: If either says no.
    """
    import onnx  # an extra
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4  # what it would log, it raises too
    providers = ["CPUExecutionProvider"]
    try:
        onnx.checker.check_model(str(path), full_check=True)
        return onnxruntime.InferenceSession(str(path), settings, providers=providers)
    except Exception as error:  # the errors of the two have no root of their own
        raise ExportError(
            f"the graph is no valid ONNX ({error}): this model cannot be exported with "
            "the installed torch, onnx and onnxruntime"
        ) from error


def _run(session: Any, pixels: NDArray[np.float32]) -> Any:
    """Return ``(1, C, H, W)`` probabilities of ``(B, H, W)`` pixels.

    Raises:
        ExportError: If onnxruntime fails.
    """
    try:
        return session.run(None, {INPUT: pixels[None] / np.float32(FULL_SCALE)})[0]
    except Exception as error:  # no root of their own here either
        raise ExportError(
            f"onnxruntime cannot run the graph on {pixels.shape[1]} × "
            f"{pixels.shape[2]} pixels ({error}): choose another --tile-size"
        ) from error


def noise(
    model: Model, height: int, width: int, *, nodata: float | None, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Draw ``(B, H, W)`` pixels from a little more than the card's stretches.

    A corner has no data: it is not a number, or the nodata value.

    Returns:
        The pixels, and ``(H, W)`` where they are valid.
    """
    generator = np.random.default_rng(seed)
    stretch = model.card.normalization
    low, high = (np.array(it)[:, None, None] for it in (stretch.low, stretch.high))
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
        classes = model.class_probabilities(image[None], known[None])
    return (classes * known).numpy()


def _difference(found: Any, expected: Any, jumps: bool) -> float:
    """Return the largest difference that counts.

    Raises:
        ExportError: If it, or too many, are larger than allowed.
    """
    apart = np.abs(found - expected).max(axis=1).ravel()
    tipped = apart > TOLERANCE
    share = float(tipped.mean())
    if share > (TIPPED if jumps else 0.0) or not np.isfinite(apart).all():
        raise ExportError(
            f"the graph's probabilities differ from the model's by up to "
            f"{apart.max():.2g} and by more than {TOLERANCE:g} on {share:.2%} of the "
            "pixels: this model cannot be exported with the installed torch and "
            "onnxruntime"
        )
    return float(apart[~tipped].max(initial=0.0))
