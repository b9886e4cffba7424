"""A module from raw pixels to class probabilities, which an ONNX graph holds."""

import torch
from torch import Tensor, nn

from geoseg.core.errors import ParameterError
from geoseg.model.codebooks import combine
from geoseg.model.file import Model

#: Deepness divides the values of every image by this, for all data types.
FULL_SCALE = 255.0
#: Names of the input and the output.
INPUT, OUTPUT = "image", "probability"
# Largest relative error of a float32 multiplied by 1 / 255 and back.
_ROUNDING = 1e-6


class PixelGraph(nn.Module):
    """Predicts class probabilities of raw pixels, as ``geoseg predict`` does.

    Pixels are valid where all bands are finite and do not hold the nodata value, if
    there is one. Values are stretched as on the model's card, clusters become classes by
    the card's matching, and its threshold moves to 1/2.

    Args:
        model: A matched model on the CPU; the card's head is used.
        nodata: Value of pixels without data, or None. As everywhere in geoseg, a pixel
            has no data if all bands hold the value, or any band if it is negative.

    Raises:
        MatchingError: If the head has no classes yet.
    """

    def __init__(self, model: Model, *, nodata: float | None = None) -> None:
        super().__init__()
        model.require_matching()
        self.method = model.method  # so that eval() and the export reach it
        self.books = torch.nn.ModuleList(
            model.books[book.name] for book in model.card.codebooks
        )
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
            ``(N, C, H, W)`` float32, sums to one over C; 0 where there is no data.
        """
        pixels = image * FULL_SCALE
        valid = self._valid(pixels)
        low, high, fill = (self.get_buffer(name) for name in ("low", "high", "fill"))
        stretched = ((pixels - low) / (high - low)).clamp(0, 1)
        channels = torch.where(valid[:, None], stretched, fill)
        head = self._model.card.head
        clusters = self.method.predict_traced(channels, valid, head)
        scores = self._model.fold(self._model.at_one_half(clusters, head), head)
        classes = self._model.decided(self._combined(scores, channels, valid))
        return classes * valid[:, None].to(classes.dtype)

    def _combined(self, scores: Tensor, channels: Tensor, valid: Tensor) -> Tensor:
        """Return the class scores together with those of the codebooks."""
        card = self._model.card
        if card.combined is None or card.combined.head != card.head:
            return scores
        parts, weights = [scores], [card.combined.weight]
        for book in card.codebooks:
            if book.matching is None or not book.weight:
                continue
            clusters = self._model.books[book.name].predict_traced(
                channels, valid, book.head
            )
            folded = clusters.permute(0, 2, 3, 1) @ book.matching.matrix
            parts.append(folded.permute(0, 3, 1, 2))
            weights.append(book.weight)
        return combine(parts, weights, card.combined.prior)

    def _valid(self, pixels: Tensor) -> Tensor:
        """Return the ``(N, H, W)`` bool validity of pixels."""
        valid = (pixels.abs() < torch.inf).float().amin(dim=1) > 0
        if self._nodata is None:
            return valid
        near = _ROUNDING * max(abs(self._nodata), 1e-30)
        empty = ((pixels - self._nodata).abs() <= near).float()
        empty = empty.amax(dim=1) if self._nodata < 0 else empty.amin(dim=1)
        return valid & ~(empty > 0)


def nodata_value(rule: str) -> float | None:
    """Return the value of a nodata rule, None if it has none.

    A graph does not know the value that an image's file declares (rule ``auto``).

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
        return None  # NaN is never valid, whatever the rule
    if not abs(value) < torch.inf:
        raise ParameterError(f"nodata is {rule!r}, expected none or a finite number")
    return value
