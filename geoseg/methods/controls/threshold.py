"""Threshold control: one threshold of brightness and one of a vegetation index."""

from collections.abc import Sequence

import torch
from torch import Tensor

from geoseg.core.errors import ParameterError
from geoseg.methods.bases.method import Batches, Method
from geoseg.methods.pixels import no_pixel, one_hot_planes

#: Bins of the histograms for Otsu's thresholds: steps of at most 1/1000.
BINS = 2048
#: Ranges of brightness and vegetation index.
RANGES = ((0.0, 1.0), (-1.0, 1.0))


class Threshold(Method):
    """Divides pixels into bright and dark, and green and bare, by Otsu's thresholds.

    Brightness is the mean of the bands. If these include red and near infrared, the
    normalised difference vegetation index of their stretched values, (nir - red) /
    (nir + red), divides each half again: clusters are then dark and bare, bright and bare,
    dark and green, bright and green. No labels are used; clusters are matched as any
    others. Bands are not whitened.

    Args:
        in_channels: Channels of the image.
        red: Index of the red channel, from 0; -1: there is none.
        near_infrared: Index of the near-infrared channel, from 0; -1: there is none.

    References:
        Otsu. A Threshold Selection Method from Gray-Level Histograms. IEEE Transactions
        on Systems, Man, and Cybernetics 9(1), 1979.
        https://doi.org/10.1109/TSMC.1979.4310076
    """

    gradient = False
    has_probabilities = False
    jumps = True

    def __init__(
        self, in_channels: int, *, red: int = -1, near_infrared: int = -1
    ) -> None:
        super().__init__(in_channels)
        for name, channel in (("red", red), ("near_infrared", near_infrared)):
            if not -1 <= channel < in_channels:
                raise ParameterError(
                    f"{name} is channel {channel} of {in_channels}, expected 0 to "
                    f"{in_channels - 1}, or -1 for none"
                )
        self.red, self.near_infrared = red, near_infrared
        self.sees_plants = min(red, near_infrared) >= 0
        self.heads = {"main": 4 if self.sees_plants else 2}
        self.default_head = "main"
        self.register_buffer("thresholds", torch.tensor([0.5, 0.0]))

    @classmethod
    def parameters_of_data(
        cls, bands: Sequence[str], classes: Sequence[str]
    ) -> dict[str, str | int]:
        """Return the indices of the red and the near-infrared channel."""
        names = list(bands)
        return {
            key: names.index(band) if band in names else -1
            for key, band in (("red", "red"), ("near_infrared", "nir"))
        }

    def finish(self, batches: Batches) -> None:
        """Fit the thresholds from histograms, whose memory is constant.

        Raises:
            TrainingError: If no pixel is valid.
        """
        counts = torch.zeros((len(RANGES), BINS), dtype=torch.long)
        for batch in batches():
            pixels = batch.image.permute(0, 2, 3, 1)[batch.valid]  # (M, C)
            for row, values, (low, high) in zip(
                counts, self._measures(pixels), RANGES, strict=False
            ):
                row += _histogram((values - low) / (high - low))
        if not counts.any():
            raise no_pixel("is valid")
        for number in range(1 + self.sees_plants):
            low, high = RANGES[number]
            cut = otsu_threshold(counts[number]) / BINS
            self.get_buffer("thresholds")[number] = low + (high - low) * cut

    def probabilities(self, image: Tensor, valid: Tensor, head: str) -> Tensor:
        """Return ``(N, K, H, W)``: 1 for the pixel's cluster, 0 for the others."""
        brightness, plants = self.get_buffer("thresholds")
        measures = self._measures(image.permute(0, 2, 3, 1))
        ids = (measures[0] > brightness).long()
        if self.sees_plants:
            ids = ids + 2 * (measures[1] > plants).long()
        return one_hot_planes(ids, self.heads[head], image.dtype)

    def _measures(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Return brightness in [0, 1] and, if available, the index in [-1, 1].

        Args:
            pixels: ``(..., C)`` in [0, 1].
        """
        brightness = pixels.mean(dim=-1)
        if not self.sees_plants:
            return (brightness,)
        red, infrared = pixels[..., self.red], pixels[..., self.near_infrared]
        total = (red + infrared).clamp(min=torch.finfo(pixels.dtype).tiny)
        return brightness, (infrared - red) / total


def _histogram(values: Tensor) -> Tensor:
    """Count ``(M,)`` values of [0, 1] in :data:`BINS` equal bins."""
    bins = (values * BINS).long().clamp(0, BINS - 1)
    return torch.bincount(bins, minlength=BINS).cpu()


def otsu_threshold(counts: Tensor) -> float:
    """Return the threshold of a histogram that separates two groups best (Otsu, eq. 18).

    Best is the largest variance between the groups. Among equally good neighbouring cuts,
    with empty bins between them, the middle is taken.

    Args:
        counts: ``(B,)`` numbers of values in B equal bins, not all 0.

    Returns:
        Position of the cut in bins from the left: 3.0 is between the third and the fourth.
        If only one bin has values, its right edge.

    Example:
        >>> otsu_threshold(torch.tensor([5, 3, 0, 0, 4]))
        3.0
    """
    weights = counts.double().cumsum(0)  # of the left group, for a cut after each bin
    sums = (counts * torch.arange(len(counts))).double().cumsum(0)
    total = weights[-1]
    between = (sums[-1] * weights - sums * total) ** 2 / (weights * (total - weights))
    between = between.nan_to_num(0.0)  # an empty group gives 0 / 0
    if not between.any():
        return float(counts.nonzero()[0] + 1)
    best = int(between.argmax())
    # cuts with the same number of values on the left are equivalent
    equal = (weights == weights[best]).nonzero()
    return float(equal.float().mean()) + 1
