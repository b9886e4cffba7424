"""Batches of patches, which carry training samples from the tiles to the methods."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.core.errors import DatasetError, ShapeError

#: Class id of pixels without a label; also the nodata value of class rasters.
IGNORE = 255


@dataclass(frozen=True, eq=False)
class PatchBatch:
    """A batch of patches cut from tiles.

    Attributes:
        image: ``(N, C, H, W)`` float, normalised; invalid pixels hold a fill value.
        valid: ``(N, H, W)`` bool, True where every band has data.
        mask: ``(N, H, W)`` long, class ids, :data:`IGNORE` where there is no label.
            Always present; only methods with ``uses_labels = True`` may read it.
        index: ``(N,)`` long, number of each patch within its epoch. Together with the
            epoch it keys everything random that happens to the patch.

    Raises:
        ShapeError: If the four shapes do not belong together.
    """

    image: Tensor
    valid: Tensor
    mask: Tensor
    index: Tensor

    def __post_init__(self) -> None:
        if self.image.ndim != 4:
            raise ShapeError(
                f"image has shape {tuple(self.image.shape)}, expected (N, C, H, W)"
            )
        n, _, h, w = self.image.shape
        expected = {"valid": (n, h, w), "mask": (n, h, w), "index": (n,)}
        for name, shape in expected.items():
            actual = tuple(getattr(self, name).shape)
            if actual != shape:
                raise ShapeError(
                    f"{name} has shape {actual}, expected {shape} for an image of "
                    f"shape {tuple(self.image.shape)}"
                )

    def __len__(self) -> int:
        return int(self.image.shape[0])

    def to(
        self, device: torch.device | str, *, non_blocking: bool = False
    ) -> "PatchBatch":
        """Return the batch on another device (Lightning calls this)."""
        return PatchBatch(
            *(
                getattr(self, name).to(device, non_blocking=non_blocking)
                for name in ("image", "valid", "mask", "index")
            )
        )

    def pin_memory(self) -> "PatchBatch":
        """Return the batch in page-locked memory, for copies to a GPU."""
        return PatchBatch(
            *(
                getattr(self, name).pin_memory()
                for name in ("image", "valid", "mask", "index")
            )
        )


class EpochLoader(Protocol):
    """A loader whose epochs can start at any batch, for fits and trainings."""

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""

    def batches(self, epoch: int, start: int = 0) -> Iterator[PatchBatch]:
        """Yield the batches of an epoch from number ``start`` on."""

    def thinned(self) -> "EpochLoader":
        """Return a loader with shorter epochs, short enough for a fit."""


@dataclass(frozen=True)
class Epoch:
    """The batches of one epoch of a loader; each call starts again."""

    loader: EpochLoader
    number: int = 0

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self.loader)

    def __call__(self) -> Iterator[PatchBatch]:
        """Yield the batches from the first on."""
        return self.loader.batches(self.number)


def tile_chances(
    areas: NDArray[Any], labelled: Sequence[bool], labelled_share: float | None
) -> NDArray[np.float64]:
    """Return the probability of each tile to be the source of a patch.

    Tiles count by their area. With a labelled share, the tiles with labels get that
    share of the probability, and the tiles without labels get the rest.

    Args:
        areas: ``(T,)`` pixels of each tile.
        labelled: Which tiles have labels.
        labelled_share: Share of patches with labels, in (0, 1]; None: by area alone.

    Returns:
        ``(T,)`` probabilities that sum to one.

    Raises:
        DatasetError: If a share is given and no tile has labels.
    """
    chances: NDArray[np.float64] = areas / areas.sum()
    known = np.array(labelled)
    if labelled_share is None or known.all():
        return chances
    if not known.any():
        raise DatasetError("no tile has labels, expected at least one to learn from")
    for group, share in ((known, labelled_share), (~known, 1 - labelled_share)):
        chances[group] *= share / chances[group].sum()
    return chances
