"""Which pixels have no data."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import rasterio
from rasterio.enums import MaskFlags
from rasterio.windows import Window

from geoseg.errors import ParameterError
from geoseg.geo.bands import alpha_band

#: How nodata is recognised: ``"auto"``, ``"none"`` or a number, as text (it is stored
#: in model files); see ``raster.read_window``.
NodataRule = str

#: No measurement: many programs fill gaps with the limits of float32 and say nothing.
FLOAT_LIMIT = 3.4e38


def check_nodata(rule: NodataRule) -> NodataRule:
    """Return a nodata rule as it is stored.

    Raises:
        ParameterError: If it is neither ``auto`` nor ``none`` nor a number.
    """
    text = str(rule).strip().lower()
    if text not in ("auto", "none"):
        try:
            float(text)
        except ValueError:
            raise ParameterError(
                f"nodata is {rule!r}, expected auto, none or a number"
            ) from None
    return text


def declared_valid(
    dataset: rasterio.DatasetReader,
    numbers: Sequence[int],
    area: Window,
    pixels: np.ndarray[Any, Any],
) -> np.ndarray[Any, Any]:
    """Where the file itself says that a window of it has data, ``(H, W)`` bool.

    ``pixels`` are those of the window, maybe thinned out.
    """
    shape = pixels.shape[1:]
    valid = np.ones(shape, bool)
    values = [dataset.nodatavals[number - 1] for number in numbers]
    alpha = alpha_band(dataset)
    if alpha is not None:
        valid &= dataset.read(alpha, window=area, out_shape=shape) > 0
    elif has_mask(dataset, numbers[0]):
        valid &= dataset.read_masks(numbers[0], window=area, out_shape=shape) > 0
    elif all(value is None for value in values):
        if pixels.dtype.itemsize > 1:
            valid &= pixels.any(axis=0)
        if pixels.dtype.kind == "f":
            valid &= (np.abs(pixels) < FLOAT_LIMIT).all(axis=0)
        return valid
    return np.asarray(valid & ~is_nodata(pixels, values))


def has_mask(dataset: rasterio.DatasetReader, number: int) -> bool:
    """Tell whether a band has a mask of all bands, from the file or beside it.

    What GDAL makes of an alpha band, or of a band that it takes for one, is none.
    """
    flags = dataset.mask_flag_enums[number - 1]
    return MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags


#: What to do about gaps that a file does not name.
NAME_GAPS = (
    "if that is nodata, say so in the file (gdalbuildvrt -addalpha, gdal_edit -a_nodata "
    "0)"
)
#: Share of the pixels that are 0 in all bands from which they are thought to be gaps.
LEAST_ZERO = 0.01


def count_zeros(pixels: np.ndarray[Any, Any], valid: np.ndarray[Any, Any]) -> int:
    """Count the pixels ``(B, H, W)`` that are exactly 0 in all bands and count as data."""
    return int(np.count_nonzero(valid & ~pixels.any(axis=0)))


def gaps_in_words(zeros: int, pixels: int, rule: NodataRule) -> str | None:
    """Say that zeros may be gaps; None if they are few, or the user has said what is.

    Args:
        zeros: Pixels that are exactly 0 in all bands and count as data.
        pixels: All that were looked at.
        rule: Under which they were read.
    """
    if check_nodata(rule) != "auto" or not pixels or zeros < LEAST_ZERO * pixels:
        return None
    return f"{100 * zeros / pixels:.0f} % of the pixels are exactly 0 in all bands"


def nodata_in_words(dataset: rasterio.DatasetReader, rule: NodataRule) -> str:
    """Say what counts as no data in an image under a rule; NaN and infinity always do.

    Raises:
        ParameterError: If the rule is unknown.
    """
    rule = check_nodata(rule)
    if rule != "auto":
        return "nothing is" if rule == "none" else f"{rule}, as asked for"
    alpha = alpha_band(dataset)
    values = sorted({value for value in dataset.nodatavals if value is not None})
    declared = [f"the value {value:g}" for value in values]
    if alpha is not None:
        declared.insert(0, f"alpha 0 in band {alpha}")
    elif has_mask(dataset, 1):
        declared.insert(0, "the file's mask")
    if declared:
        return " and ".join(declared) + ", as the file says"
    kinds = [np.dtype(dtype) for dtype in dataset.dtypes]
    if max(kind.itemsize for kind in kinds) == 1:
        return "the file names none, and in 8 bit 0 is a value like others"
    limits = ", or a limit of float32" if any(k.kind == "f" for k in kinds) else ""
    return f"the file names none; 0 in all bands{limits}"


def is_nodata(
    pixels: np.ndarray[Any, Any], values: Sequence[float | None]
) -> np.ndarray[Any, Any]:
    """Where pixels ``(B, H, W)`` hold their bands' nodata values, ``(H, W)`` bool.

    NaN is left to the finite check.
    """
    equal = np.stack(
        [
            (
                np.zeros(band.shape, bool)
                if value is None
                else (
                    band == np.asarray(value).astype(band.dtype)
                    if holds(band.dtype, value)
                    else np.zeros(band.shape, bool)
                )
            )
            for band, value in zip(pixels, values, strict=True)
        ]
    )
    impossible = any(
        value is not None and (value < 0 or (pixels.dtype.kind == "f" and value != 0))
        for value in values
    )
    return np.asarray(equal.any(axis=0) if impossible else equal.all(axis=0))


def holds(dtype: np.dtype[Any], value: float) -> bool:
    """Tell whether a band of a type can hold a value (bytes hold no nodata 256)."""
    if dtype.kind not in "iu":
        return True
    limits = np.iinfo(dtype)
    return float(value).is_integer() and limits.min <= value <= limits.max
