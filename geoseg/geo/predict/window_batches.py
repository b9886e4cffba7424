"""Batches of windows for the network."""

from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geoseg.core.normalization import Normalization
from geoseg.geo.predict.stitching import Tiling, in_steps
from geoseg.geo.predict.window_rows import MARGIN

#: ``(row, column)`` of a window in its tiling, and its ``(C, size, size)``
#: probabilities in steps.
WindowResult = tuple[tuple[int, int], npt.NDArray[np.uint16]]

# A window waits for its batch to fill for at most this many rows of windows, and while
# the incomplete rows take at most this many bytes.
_MOST_ROWS = 8
_MOST_BYTES = 128 * 2**20


class ModelCard(Protocol):
    """The properties of a model that prediction needs."""

    @property
    def normalization(self) -> Normalization: ...

    @property
    def nodata(self) -> str: ...

    @property
    def class_names(self) -> tuple[str, ...]: ...


class ClassModel(Protocol):
    """A model that returns class probabilities of normalised pixels."""

    @property
    def card(self) -> ModelCard: ...

    def class_probabilities(self, image: Tensor, valid: Tensor) -> Tensor:
        """Map ``(N, channels, H, W)`` and ``(N, H, W)`` bool to ``(N, C, H, W)``."""
        ...


class WindowBatches:
    """Batches of inner windows, and of larger windows at the region's border.

    All batches of a kind have one shape (the last one is padded), so that the same
    kernels run and results repeat bit for bit.

    Args:
        model: The model.
        tiling: Positions of the windows.
        most: Most windows in a batch.
    """

    def __init__(self, model: ClassModel, tiling: Tiling, most: int) -> None:
        rows, columns = len(tiling.rows), len(tiling.columns)
        inner = max(rows - 2, 0) * max(columns - 2, 0)
        row_bytes = 2 * len(model.card.class_names) * tiling.size**2 * columns
        self._patience = min(max(_MOST_BYTES // row_bytes, 1), _MOST_ROWS)
        # a row of windows has two at the border, so this batch fills in time
        at_border = min(most, 2 * self._patience)
        self._inner = _Batch(model, _even(inner, most), MARGIN)
        self._border = _Batch(model, _even(rows * columns - inner, at_border), 0)
        self._last = (rows - 1, columns - 1)

    def add(
        self, row: int, column: int, image: Tensor, valid: Tensor
    ) -> list[WindowResult]:
        """Add a window to its batch; run a full batch and return its results.

        Args:
            row: Row of the tiling; ``column`` likewise.
            image: ``(channels, size + 2 MARGIN, size + 2 MARGIN)``.
            valid: ``(size + 2 MARGIN, size + 2 MARGIN)`` bool.
        """
        at_border = row in (0, self._last[0]) or column in (0, self._last[1])
        batch = self._border if at_border else self._inner
        batch.add((row, column), image, valid)
        return batch.run() if batch.full else []

    def run_overdue(self, row: int) -> list[WindowResult]:
        """Run the batches that have waited too long at the end of a row."""
        return [
            result
            for batch in (self._border, self._inner)
            if batch.places and row - batch.places[0][0] >= self._patience
            for result in batch.run()
        ]

    def finish(self) -> list[WindowResult]:
        """Run the remaining windows."""
        return [*self._border.run(), *self._inner.run()]

    def complete(self, row: int) -> int:
        """Return the first incomplete row of windows before ``row``, or ``row``."""
        waiting = self._border.places[:1] + self._inner.places[:1]
        return min([row, *(place[0] for place in waiting)])


def _even(count: int, most: int) -> int:
    """Return the size of the fewest batches of equal size for a number of windows.

    Example:
        >>> _even(9, 8)
        5
    """
    return -(-count // -(-count // most)) if count else 0


class _Batch:
    """A batch of windows of one shape, without ``crop`` pixels of their margins."""

    def __init__(self, model: ClassModel, size: int, crop: int) -> None:
        self._model = model
        self._size = size
        self._crop = crop
        self._image = torch.zeros(0)
        self._valid = torch.zeros(0, dtype=torch.bool)
        self.places: list[tuple[int, int]] = []

    @property
    def full(self) -> bool:
        return len(self.places) == self._size

    def add(self, place: tuple[int, int], image: Tensor, valid: Tensor) -> None:
        keep = slice(self._crop, image.shape[-1] - self._crop)
        image, valid = image[:, keep, keep], valid[keep, keep]
        if not len(self._image):
            self._image = torch.zeros((self._size, *image.shape))
            self._valid = torch.zeros((self._size, *valid.shape), dtype=torch.bool)
        # copy, because a view would keep the whole strip in memory
        self._image[len(self.places)] = image
        self._valid[len(self.places)] = valid
        self.places.append(place)

    def run(self) -> list[WindowResult]:
        """Run the network on the batch and empty it."""
        places, self.places = self.places, []
        if not places:
            return []
        self._image[len(places) :] = 0
        self._valid[len(places) :] = False
        with torch.no_grad():
            result = self._model.class_probabilities(self._image, self._valid)
        inside = slice(MARGIN - self._crop, self._image.shape[-1] + self._crop - MARGIN)
        steps = in_steps(result[:, :, inside, inside].float().cpu().numpy())
        return list(zip(places, steps, strict=False))
