"""Colours of images, clusters, classes and buildings on tiles.

One colour means one thing in every figure and on every page.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.core.classes import BACKGROUND, BUILDING
from geoseg.core.errors import ShapeError
from geoseg.core.palette import FOUND, INVENTED, MISSED, class_colours, cluster_colours
from geoseg.core.patches import IGNORE
from geoseg.core.words import counted
from geoseg.scores.metrics import iou, mean_iou

Pixels = NDArray[Any]


@dataclass(frozen=True, eq=False)
class PanelHead:
    """Clusters and classes that one head predicts for a tile.

    Attributes:
        name: Shown above its column.
        clusters: ``(H, W)`` cluster ids, negative where the image has no data.
        classes: ``(H, W)`` class ids after matching, ``IGNORE`` where it has no data.
    """

    name: str
    clusters: Pixels
    classes: Pixels


@dataclass(frozen=True, eq=False)
class PanelRow:
    """A tile of a panel figure.

    Attributes:
        title: Shown at its left.
        image: ``(B, H, W)`` red, green, blue, or one band; any range.
        heads: One column each.
        truth: ``(H, W)`` reference class ids, ``IGNORE`` where unlabelled, or None.
        valid: ``(H, W)`` bool, or None where every pixel has data.
    """

    title: str
    image: Pixels
    heads: Sequence[PanelHead]
    truth: Pixels | None = None
    valid: Pixels | None = None

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[0] not in (1, 3):
            raise ShapeError(
                f"image of {self.title} has shape {self.image.shape}, expected "
                "(1 or 3, H, W)"
            )
        size = self.image.shape[1:]
        others = {"truth": self.truth, "valid": self.valid}
        for head in self.heads:
            others[f"clusters of {head.name}"] = head.clusters
            others[f"classes of {head.name}"] = head.classes
        for name, array in others.items():
            if array is not None and array.shape != size:
                raise ShapeError(
                    f"{name} of {self.title} has shape {array.shape}, expected {size}"
                )


def stretch_image(
    image: Pixels,
    valid: Pixels | None = None,
    *,
    low: float = 2.0,
    high: float = 98.0,
    gamma: float = 0.9,
) -> NDArray[np.float32]:
    """Stretch an image between two percentiles of its valid pixels, for display.

    Args:
        image: ``(B, H, W)`` with one or three bands, any range.
        valid: ``(H, W)`` bool; pixels that are not become white.
        low: Percentile shown as black, band by band.
        high: Percentile shown as white.
        gamma: Exponent after the stretch; below one lightens the shadows.

    Returns:
        ``(H, W, 3)`` float32 in [0, 1].
    """
    pixels = np.broadcast_to(image, (3, *image.shape[1:])).astype(np.float32)
    seen = np.isfinite(pixels).all(0)
    seen = seen if valid is None else seen & valid.astype(bool)
    out = np.ones((*seen.shape, 3), dtype=np.float32)
    if seen.any():
        values = pixels[:, seen]  # (3, pixels)
        bottom, top = np.percentile(values, [low, high], axis=1)
        span = np.maximum(top - bottom, 1e-6)
        scaled = (values - bottom[:, None]) / span[:, None]
        out[seen] = np.clip(scaled, 0.0, 1.0).T ** gamma
    return out


def paint_clusters(clusters: Pixels) -> NDArray[np.float32]:
    """Return ``(H, W, 3)`` colours of ``(H, W)`` cluster ids, white where negative."""
    ids = np.maximum(clusters, 0).astype(np.int64)
    out = cluster_colours(int(ids.max(initial=0)) + 1)[ids].astype(np.float32)
    out[clusters < 0] = 1.0
    return out


def paint_buildings(
    background: Pixels, classes: Pixels, truth: Pixels | None = None
) -> NDArray[np.float32]:
    """Draw buildings over a faded image, coloured by right, wrong and missed.

    Args:
        background: ``(H, W, 3)`` in [0, 1].
        classes: ``(H, W)`` class ids.
        truth: ``(H, W)`` reference ids; where absent or ``IGNORE``, all passes as right.

    Returns:
        ``(H, W, 3)``: buildings found, invented and missed in their colours.
    """
    faded = _faded(background)
    called = classes == BUILDING
    known = np.zeros_like(called) if truth is None else truth != IGNORE
    real = called if truth is None else np.where(known, truth == BUILDING, called)
    for mask, colour in (
        (called & real, FOUND),
        (called & ~real, INVENTED),
        (~called & real, MISSED),
    ):
        faded[mask] = 0.25 * faded[mask] + 0.75 * np.array(colour, dtype=np.float32)
    faded[classes == IGNORE] = 1.0
    return faded


def paint_classes(background: Pixels, classes: Pixels) -> NDArray[np.float32]:
    """Draw classes over a faded image, in the colours of the map's styles.

    Args:
        background: ``(H, W, 3)`` in [0, 1].
        classes: ``(H, W)`` class ids; ``IGNORE`` becomes white.
    """
    out = _faded(background)
    here = np.setdiff1d(classes, [BACKGROUND, IGNORE])
    palette = np.array(class_colours(int(here.max(initial=0)) + 1)) / 255
    for class_id in here.tolist():
        mask = classes == class_id
        out[mask] = 0.25 * out[mask] + 0.75 * palette[class_id]
    out[classes == IGNORE] = 1.0
    return out


def paint_map(
    background: Pixels, classes: Pixels, truth: Pixels | None = None, *, count: int = 2
) -> NDArray[np.float32]:
    """Draw a class map: two classes by :func:`paint_buildings`, more in their colours.

    Args:
        background: ``(H, W, 3)`` in [0, 1].
        classes: ``(H, W)`` class ids.
        truth: ``(H, W)`` reference ids or None; with two classes it tells right from
            wrong.
        count: Number of classes.
    """
    if count > 2:
        return paint_classes(background, classes)
    return paint_buildings(background, classes, truth)


def _faded(background: Pixels) -> NDArray[np.float32]:
    grey = background @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    return np.repeat((0.45 + 0.5 * grey)[..., None], 3, axis=2).astype(np.float32)


def score_note(classes: Pixels, truth: Pixels | None, count: int = 2) -> str:
    """Return the IoU of a ``(H, W)`` class map as text.

    Args:
        classes: Class ids.
        truth: Reference ids, ``IGNORE`` where unknown; None: there is nothing to say.
        count: Number of classes. Two: the IoU of building, none where the reference
            has no building. More: the mean IoU.
    """
    if truth is None:
        return ""
    known = (truth != IGNORE) & (classes != IGNORE)
    real = truth[known].astype(np.int64)
    if not real.size:
        return ""
    if count == 2 and not (real == BUILDING).any():
        return "IoU – (no building)"
    pairs = np.bincount(count * real + classes[known], minlength=count**2)
    confusion = pairs.reshape(count, count)
    if count == 2:
        return f"IoU {float(iou(confusion)):.2f}"
    return f"mean IoU {float(mean_iou(confusion)):.2f}"


def content_note(truth: Pixels, count: int = 2) -> str:
    """Return the contents of a ``(H, W)`` reference as text.

    Args:
        truth: Class ids, IGNORE where unknown.
        count: Number of classes. Two: the share of building. More: how many are here.
    """
    real = truth[truth != IGNORE]
    if count == 2:
        share = float((real == BUILDING).mean()) if real.size else 0.0
        return f"{100 * share:.0f} % building"
    return counted(np.unique(real).size, "class")
