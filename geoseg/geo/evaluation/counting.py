"""Counts of predicted on reference classes."""

import numpy as np
import numpy.typing as npt
import torch

from geoseg.core.classes import BACKGROUND
from geoseg.core.patches import IGNORE
from geoseg.geo.evaluation.judged_maps import Classes
from geoseg.model.matching import contingency_table


def count_classes(
    predicted: Classes, reference: Classes, *, num_classes: int
) -> npt.NDArray[np.int64]:
    """Return the ``(C, C)`` confusion matrix of two ``(H, W)`` class maps.

    Pixels whose reference is ``IGNORE`` are left out; predicted ``IGNORE`` counts as
    background.
    """
    called = np.where(predicted == IGNORE, np.uint8(BACKGROUND), predicted)
    table = contingency_table(
        torch.from_numpy(called),
        torch.from_numpy(np.ascontiguousarray(reference)),
        num_clusters=num_classes,
        num_classes=num_classes,
    )
    return table.numpy().T.copy()
