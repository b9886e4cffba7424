"""Nodata: masks, nodata values and rules for pixels without data."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import rasterio
from rasterio.enums import MaskFlags
from rasterio.windows import Window

from geoseg.core.errors import ParameterError
from geoseg.geo.rasters.bands import alpha_band

#: Rule that finds pixels without data: ``"auto"``, ``"none"`` or a number as text
#: (model files store it); see ``raster.read_window``.
NodataRule = str

#: Larger values are no measurements: many programs fill gaps with the limits of float32
#: without declaring them.
FLOAT_LIMIT = 3.4e38


def check_nodata(rule: NodataRule) -> NodataRule:
    """Return a nodata rule in its stored form.

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
    """Return where a window has data according to its file, ``(H, W)`` bool.

    ``pixels`` are those of the window, possibly decimated.
    """
    shape = pixels.shape[1:]
    valid = np.ones(shape, bool)
    values = [dataset.nodatavals[number - 1] for number in numbers]
    alpha = alpha_band(dataset)
    if alpha is not None:
        valid &= dataset.read(alpha, window=area, out_shape=shape) > 0
    elif has_dataset_mask(dataset, numbers[0]):
        valid &= dataset.read_masks(numbers[0], window=area, out_shape=shape) > 0
    elif all(value is None for value in values):
        if pixels.dtype.itemsize > 1:
            valid &= pixels.any(axis=0)
        if pixels.dtype.kind == "f":
            valid &= (np.abs(pixels) < FLOAT_LIMIT).all(axis=0)
        return valid
    return np.asarray(valid & ~is_nodata(pixels, values))


def has_dataset_mask(dataset: rasterio.DatasetReader, number: int) -> bool:
    """Tell whether a band has a mask for all bands, in the file or beside it.

    A mask that GDAL derives from an alpha band does not count.
    """
    flags = dataset.mask_flag_enums[number - 1]
    return MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags


#: Usual nodata values, beside the limits of a type.
_SENTINELS = (0, -9999, -999, -99999, -32768, -32767, 9999, 99999, 1e20)
#: Least share of pixels with such a value in all bands that are taken for gaps. It is
#: larger for 255, the value of bright roofs and clouds in bytes.
LEAST_SHARE, LEAST_SHARE_OF_255 = 0.01, 0.05


class Gap(NamedTuple):
    """A value that may be undeclared nodata.

    Attributes:
        value: Value of the pixels in all bands.
        share: Share of the examined pixels, in [0, 1].
    """

    value: float
    share: float

    def __str__(self) -> str:
        """Return the share and the value in words."""
        share = f"{100 * self.share:.0f} % of the pixels"
        return f"{share} are exactly {self.value:.9g} in all bands"

    @property
    def advice(self) -> str:
        """Return how to declare the value in the file."""
        alpha = "gdalbuildvrt -addalpha, " if self.value == 0 else ""
        return (
            f"if that is nodata, declare it in the file ({alpha}gdal_edit -a_nodata "
            f"{self.value:.9g})"
        )

    @property
    def option(self) -> str:
        """Return the option that declares the value instead of the file."""
        return f"--nodata {self.value:.9g}"


def count_sentinels(
    pixels: np.ndarray[Any, Any], valid: np.ndarray[Any, Any]
) -> Counter[float]:
    """Count the valid pixels that have a usual nodata value in all bands.

    Args:
        pixels: ``(B, H, W)``.
        valid: ``(H, W)`` bool.

    Returns:
        Value → number of pixels, for the values that occur.
    """
    kind = pixels.dtype
    limits = np.finfo(kind) if kind.kind == "f" else np.iinfo(kind)
    # the positive limit of a signed or float type is a rare nodata value, but occurs
    candidates = {float(limits.min), float(limits.max), *map(float, _SENTINELS)}
    counts: Counter[float] = Counter()
    for value in sorted(candidates):
        if not holds(kind, value):
            continue
        alike = valid & (pixels[0] == kind.type(value))
        if alike.any():
            alike &= (pixels == kind.type(value)).all(axis=0)
            if number := int(np.count_nonzero(alike)):
                counts[value] = number
    return counts


def suspected_gap(
    counts: Mapping[float, int], pixels: int, rule: NodataRule
) -> Gap | None:
    """Return the most frequent usual nodata value if it is frequent enough.

    Args:
        counts: From :func:`count_sentinels`.
        pixels: Number of examined pixels.
        rule: Nodata rule of the read; None is returned if the user chose it.
    """
    if check_nodata(rule) != "auto" or not pixels or not counts:
        return None
    gap = Gap(value := max(counts, key=lambda v: counts[v]), counts[value] / pixels)
    least = LEAST_SHARE_OF_255 if gap.value == 255 else LEAST_SHARE
    return gap if gap.share >= least else None


def nodata_in_words(dataset: rasterio.DatasetReader, rule: NodataRule) -> str:
    """Describe what counts as nodata under a rule; NaN and infinity always do.

    Raises:
        ParameterError: If the rule is unknown.
    """
    rule = check_nodata(rule)
    if rule != "auto":
        return "nothing is" if rule == "none" else f"{rule}, as requested"
    alpha = alpha_band(dataset)
    values = sorted({value for value in dataset.nodatavals if value is not None})
    declared = [f"the value {value:g}" for value in values]
    if alpha is not None:
        declared.insert(0, f"alpha 0 in band {alpha}")
    elif has_dataset_mask(dataset, 1):
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
    """Return where pixels ``(B, H, W)`` hold nodata values, ``(H, W)`` bool.

    ``values`` has one value per band. NaN does not count; callers test for finite
    values.
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
    """Tell whether a type can hold a value (bytes cannot hold 256)."""
    if dtype.kind not in "iu":
        return True
    limits = np.iinfo(dtype)
    return float(value).is_integer() and limits.min <= value <= limits.max
