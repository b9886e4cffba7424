"""From raw pixels to class probabilities in one module: what an ONNX graph holds."""

import torch
from torch import Tensor, nn

from geoseg.core.errors import ParameterError
from geoseg.model.file import Model

#: Deepness divides the values of every image by this, whatever its type.
FULL_SCALE = 255.0
#: Names of the one input and the one output.
INPUT, OUTPUT = "image", "probability"
# What multiplying by 1 / 255 and back again may lose of a float32, relative.
_ROUNDING = 1e-6


class PixelGraph(nn.Module):
    """Does to raw pixels all that ``geoseg predict`` does to those of a window.

    Pixels are valid where all bands are finite and, if there is a nodata value, do not
    hold it; values are stretched as the model's card says; the method's clusters become
    classes by the card's matching, whose threshold comes to lie at one half.

    Args:
        model: A matched model on the CPU; its card's head is taken.
        nodata: Value of pixels without data, or None. As everywhere in geoseg it must
            be in all bands, unless it is negative, so no measurement: then in any.

    Raises:
        MatchingError: If the head has no classes yet.
    """

    def __init__(self, model: Model, *, nodata: float | None = None) -> None:
        super().__init__()
        model.require_matching()
        self.method = model.method  # so that eval() and the export reach it
        self._model = model
        self._nodata = nodata
        stretch = model.card.normalization
        for name in ("low", "high", "fill"):
            numbers = torch.tensor(getattr(stretch, name), dtype=torch.float32)
            self.register_buffer(name, numbers[:, None, None])

    def forward(self, image: Tensor) -> Tensor:
        """Return class probabilities.

        Args:
            image: ``(N, B, H, W)`` float32, the file's values divided by
                :data:`FULL_SCALE`, bands in the card's order.

        Returns:
            ``(N, C, H, W)`` float32, summing to one over C; 0 where there is no data.
        """
        pixels = image * FULL_SCALE
        valid = self._valid(pixels)
        low, high, fill = (self.get_buffer(name) for name in ("low", "high", "fill"))
        stretched = ((pixels - low) / (high - low)).clamp(0, 1)
        channels = torch.where(valid[:, None], stretched, fill)
        head = self._model.card.head
        clusters = self.method.predict_traced(channels, valid, head)
        classes = self._model.fold(self._model.at_one_half(clusters, head), head)
        return classes * valid[:, None].to(classes.dtype)

    def _valid(self, pixels: Tensor) -> Tensor:
        """Return ``(N, H, W)`` bool."""
        valid = (pixels.abs() < torch.inf).float().amin(dim=1) > 0
        if self._nodata is None:
            return valid
        near = _ROUNDING * max(abs(self._nodata), 1e-30)
        empty = ((pixels - self._nodata).abs() <= near).float()
        empty = empty.amax(dim=1) if self._nodata < 0 else empty.amin(dim=1)
        return valid & ~(empty > 0)


def nodata_value(rule: str) -> float | None:
    """Return the value that a nodata rule names, None if it names none.

    What an image's file declares (the rule ``auto``) does not reach a graph.

    Raises:
        ParameterError: If the rule is neither ``auto`` nor ``none`` nor a finite number.
    """
    text = rule.strip().lower()
    if text in ("auto", "none"):
        return None
    try:
        value = float(text)
    except ValueError:
        value = torch.nan
    if text == "nan":
        return None  # never valid, rule or not
    if not abs(value) < torch.inf:
        raise ParameterError(f"nodata is {rule!r}, expected none or a finite number")
    return value
