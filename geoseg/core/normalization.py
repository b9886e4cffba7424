"""Normalise a file's pixel values into a network's input channels.

The numbers come from the training split (``geoseg.geo.patches.statistics``) and are
stored in the model file, so that prediction normalises exactly as training did.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from geoseg.core.errors import ModelFileError, ParameterError, ShapeError
from geoseg.core.stored import typed
from geoseg.core.whitening import Whitening


@dataclass(frozen=True)
class Normalization:
    """Stretches every band to [0, 1] between two percentiles of the training split.

    One stretch per band for the whole split keeps absolute reflectance, which a stretch
    per tile would lose.

    Attributes:
        bands: Band names, in channel order.
        low: Per band, the value mapped to 0, in the file's units.
        high: Per band, the value mapped to 1; above ``low``.
        fill: Per band, the normalised value given to invalid pixels, in [0, 1].
        whitening: Applied by the method after its views, not by a call (see
            :mod:`geoseg.core.whitening`); or None.

    Raises:
        ParameterError: If lengths differ or ``high <= low``.

    Example:
        >>> stretch = Normalization(("pan",), (100.0,), (300.0,), (0.5,))
        >>> pixels = np.array([[[100, 200, 300, 65535]]], np.uint16)
        >>> stretch(pixels, np.array([[True, True, True, False]])).tolist()
        [[[0.0, 0.5, 1.0, 0.5]]]
    """

    bands: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    fill: tuple[float, ...]
    whitening: Whitening | None = None

    def __post_init__(self) -> None:
        count = len(self.bands)
        for name in ("low", "high", "fill"):
            values = getattr(self, name)
            if len(values) != count:
                raise ParameterError(
                    f"normalization has {len(values)} values of {name} for {count} "
                    "bands, expected one per band"
                )
            if not all(math.isfinite(value) for value in values):
                raise ParameterError(
                    f"normalization has {name} = {values}, expected finite numbers"
                )
        if count == 0:
            raise ParameterError("normalization has no band, expected at least one")
        for band, low, high in zip(self.bands, self.low, self.high, strict=True):
            if not high > low:
                raise ParameterError(
                    f"normalization of band {band!r} maps {low} to 0 and {high} to 1, "
                    "expected the second above the first"
                )
        if self.whitening is not None and len(self.whitening.mean) != count:
            raise ParameterError(
                f"normalization whitens {len(self.whitening.mean)} of {count} bands, "
                "expected all of them"
            )

    @property
    def channels(self) -> int:
        """Number of channels that a call returns."""
        return len(self.bands)

    def __call__(
        self, pixels: np.ndarray[Any, Any], valid: np.ndarray[Any, Any]
    ) -> Tensor:
        """Normalise a window of an image.

        Args:
            pixels: ``(B, H, W)``, any numeric type, in the file's units.
            valid: ``(H, W)`` bool, False where there is no data.

        Returns:
            ``(channels, H, W)`` float32 in [0, 1], ``fill`` where invalid.

        Raises:
            ShapeError: If the shapes do not belong together.
        """
        self._check_shapes(pixels, valid)
        result = np.empty(pixels.shape, np.float32)
        # Band by band and in place: strips of large images are hundreds of megabytes.
        for number, (band, out) in enumerate(zip(pixels, result, strict=True)):
            self._stretch(band, number, out)
            out[~valid] = self.fill[number]
        return torch.from_numpy(result)

    def brightness(
        self, pixels: np.ndarray[Any, Any], valid: np.ndarray[Any, Any]
    ) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Return the mean normalised band of a window as bytes.

        Args:
            pixels: ``(B, H, W)``, as for a call.
            valid: ``(H, W)`` bool.

        Returns:
            ``(H, W)``, 0 to 255; 0 where invalid.

        Raises:
            ShapeError: If the shapes do not belong together.
        """
        self._check_shapes(pixels, valid)
        total = np.zeros(valid.shape, np.float32)
        stretched = np.empty(valid.shape, np.float32)
        for number, band in enumerate(pixels):
            self._stretch(band, number, stretched)
            total += stretched
        total *= np.float32(255 / len(pixels))
        total[~valid] = 0
        return np.rint(total).astype(np.uint8)

    def _check_shapes(
        self, pixels: np.ndarray[Any, Any], valid: np.ndarray[Any, Any]
    ) -> None:
        if pixels.ndim != 3 or pixels.shape[0] != len(self.bands):
            raise ShapeError(
                f"pixels have shape {pixels.shape}, expected "
                f"({len(self.bands)}, H, W) for bands {', '.join(self.bands)}"
            )
        if valid.shape != pixels.shape[1:]:
            raise ShapeError(
                f"valid has shape {valid.shape}, expected {pixels.shape[1:]}"
            )

    def _stretch(
        self,
        band: np.ndarray[Any, Any],
        number: int,
        out: np.ndarray[Any, np.dtype[np.float32]],
    ) -> None:
        """Stretch the pixels of a band to [0, 1]; invalid ones may become NaN."""
        # float32 holds 16-bit integers exactly; wider values are subtracted in float64
        narrow = band.dtype.itemsize <= 2 or band.dtype == np.float32
        kind = np.float32 if narrow else np.float64
        scaled: Any = band.astype(kind)
        low, high = self.low[number], self.high[number]
        # invalid pixels may hold NaN, inf or sentinels near the type's limits
        with np.errstate(over="ignore", invalid="ignore"):
            scaled -= kind(low)
            scaled /= kind(high) - kind(low)
        np.clip(scaled, 0, 1, out=out, casting="same_kind")

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; :meth:`from_json` is the exact inverse."""
        return {
            "bands": list(self.bands),
            "low": list(self.low),
            "high": list(self.high),
            "fill": list(self.fill),
            "whitening": self.whitening and self.whitening.to_json(),
        }

    @classmethod
    def from_json(cls, values: Any) -> "Normalization":
        """Read the values of :meth:`to_json`; old model cards have no whitening.

        Raises:
            ModelFileError: If a field is absent or has a wrong type or value.
        """
        try:
            stretch = typed(values, cls)
            if stretch.whitening is not None:
                Whitening.from_json(values["whitening"])
            return stretch
        except ValueError as error:
            raise ModelFileError(
                f"the normalization on the model card is damaged ({error}), "
                "expected bands, low, high and fill"
            ) from error
