"""Figures that show what a model does: panels, overlays and training curves.

matplotlib is imported when a figure is drawn: no global state, no display.
"""

from collections.abc import Iterable, Mapping, Sequence
from colorsys import hls_to_rgb
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ShapeError
from geoseg.geo.outputs import write_aside
from geoseg.metrics import BUILDING
from geoseg.metrics import iou as building_iou
from geoseg.patches import IGNORE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Pixels = NDArray[Any]
Colour = tuple[float, float, float]

#: One colour, one meaning, in every figure; told apart with any colour vision.
FOUND: Colour = (1.0, 0.72, 0.05)  # building, and rightly so
INVENTED: Colour = (0.86, 0.12, 0.44)  # called building, but is not
MISSED: Colour = (0.20, 0.66, 0.96)  # building, but not called so
_INK = "#22262b"
_FAINT = "#6b737c"


@dataclass(frozen=True, eq=False)
class PanelHead:
    """What one head says about a tile.

    Attributes:
        name: Shown above its column.
        clusters: ``(H, W)`` cluster ids, ``IGNORE`` where the image has no data.
        classes: ``(H, W)`` class ids after matching, ``IGNORE`` likewise.
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
    """Stretch an image between two percentiles of its valid pixels, for the eye.

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


def cluster_colours(count: int) -> NDArray[np.float64]:
    """Return ``(count, 3)`` colours in [0, 1] that stay apart and never change.

    Cluster ``k`` has the same colour whatever ``count`` is: three tones in turn, the
    hues of each by the golden angle.
    """
    tones = ((0.62, 0.62), (0.40, 0.55), (0.80, 0.60))  # lightness, saturation
    hues = [0.08 + k % 3 / 3 + k // 3 * 0.381966 for k in range(count)]
    colours = [hls_to_rgb(hue % 1.0, *tones[k % 3]) for k, hue in enumerate(hues)]
    return np.array(colours, dtype=np.float64).reshape(count, 3)


def paint_clusters(clusters: Pixels) -> NDArray[np.float32]:
    """Return ``(H, W, 3)`` colours of ``(H, W)`` cluster ids, white where no data."""
    seen = clusters != IGNORE
    ids = np.where(seen, clusters, 0).astype(np.int64)
    out = cluster_colours(int(ids.max(initial=0)) + 1)[ids].astype(np.float32)
    out[~seen] = 1.0
    return out


def paint_buildings(
    background: Pixels, classes: Pixels, truth: Pixels | None = None
) -> NDArray[np.float32]:
    """Lay buildings over a faded image, coloured by whether they are right.

    Args:
        background: ``(H, W, 3)`` in [0, 1].
        classes: ``(H, W)`` class ids.
        truth: ``(H, W)`` reference ids; where absent or ``IGNORE``, all passes as right.

    Returns:
        ``(H, W, 3)``: buildings found, invented and missed in their colours.
    """
    grey = background @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    faded = np.repeat((0.45 + 0.5 * grey)[..., None], 3, axis=2).astype(np.float32)
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


def _iou(classes: Pixels, truth: Pixels | None) -> float:
    if truth is None:
        return float("nan")
    known = truth != IGNORE
    called, real = classes[known] == BUILDING, truth[known] == BUILDING
    pairs = np.bincount(2 * real + called, minlength=4).reshape(2, 2)
    return float(building_iou(pairs))


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: "Figure", path: Path, dpi: int) -> Path:
    with write_aside(path, verify=lambda _: None, overwrite=True) as temporary:
        figure.savefig(
            temporary, format="png", dpi=dpi, metadata={"Software": "geoseg"}
        )
    return path


def _show(axes: "Axes", pixels: Pixels, title: str, note: str = "") -> None:
    axes.imshow(pixels, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_title(title, loc="left", fontsize=10, color=_INK, pad=4)
    axes.set_title(note, loc="right", fontsize=10, color=_FAINT, pad=4)


def _building_legend(figure: "Figure") -> None:
    from matplotlib.patches import Patch

    meanings = (("found", FOUND), ("invented", INVENTED), ("missed", MISSED))
    figure.legend(
        handles=[Patch(color=c, label=f"building {name}") for name, c in meanings],
        loc="outside lower right",
        ncols=3,
        frameon=False,
        fontsize=9,
    )


def panel_figure(path: Path, rows: Sequence[PanelRow], *, dpi: int = 110) -> Path:
    """Draw image, clusters, reference and matched buildings of some tiles.

    Each tile takes two lines: the image and every head's clusters; the reference and
    every head's clusters after matching, with the IoU.

    Args:
        path: PNG to write.
        rows: The tiles, with equally many heads.
        dpi: Resolution; a panel is three inches wide.

    Raises:
        ShapeError: If there is no row or rows differ in their number of heads.
        OutputError: If it cannot be written.
    """
    columns = {1 + len(row.heads) for row in rows}
    if len(columns) != 1:
        raise ShapeError(
            f"found rows of {sorted(columns)} columns, expected one row at least and "
            "the same heads in all"
        )
    across = columns.pop()
    figure = _figure(3.0 * across, 6.5 * len(rows) + 0.5)
    grid = figure.subplots(2 * len(rows), across, squeeze=False)
    for number, row in enumerate(rows):
        _draw_row(grid[2 * number], grid[2 * number + 1], row)
    if any(row.truth is not None for row in rows):
        _building_legend(figure)
    return _save(figure, path, dpi)


def _draw_row(upper: Sequence["Axes"], lower: Sequence["Axes"], row: PanelRow) -> None:
    image = stretch_image(row.image, row.valid)
    _show(upper[0], image, row.title)
    if row.truth is None:
        lower[0].set_axis_off()
    else:
        known = row.truth != IGNORE
        share = (row.truth[known] == BUILDING).mean() if known.any() else 0.0
        painted = paint_buildings(image, row.truth)
        _show(lower[0], painted, "reference", f"{100 * share:.0f} % building")
    for head, top, bottom in zip(row.heads, upper[1:], lower[1:], strict=True):
        used = np.setdiff1d(head.clusters, [IGNORE]).size
        _show(top, paint_clusters(head.clusters), head.name, f"{used} clusters")
        score = _iou(head.classes, row.truth)
        note = "" if np.isnan(score) else f"IoU {score:.2f}"
        painted = paint_buildings(image, head.classes, row.truth)
        _show(bottom, painted, f"{head.name}, matched", note)


def overlay_figure(
    path: Path,
    image: Pixels,
    footprints: Iterable[Any],
    *,
    reference: Iterable[Any] = (),
    valid: Pixels | None = None,
    title: str = "",
    dpi: int = 110,
) -> Path:
    """Draw footprints over an image.

    Args:
        path: PNG to write.
        image: ``(1 or 3, H, W)``, any range.
        footprints: Polygons of shapely or GeoJSON in pixel coordinates, the image's
            corner at (0, 0).
        reference: Polygons drawn as thin dashed outlines.
        valid: ``(H, W)`` bool or None.
        title: Shown above the image.
        dpi: Resolution; the image is eight inches wide.

    Raises:
        ShapeError: If the image is not ``(1 or 3, H, W)``.
        OutputError: If it cannot be written.
    """
    from matplotlib.collections import PathCollection

    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise ShapeError(f"image has shape {image.shape}, expected (1 or 3, H, W)")
    height, width = image.shape[1:]
    figure = _figure(8.0, 8.0 * height / width + 0.4 * bool(title))
    axes = figure.subplots()
    _show(axes, stretch_image(image, valid), title)
    axes.set_autoscale_on(False)
    found = [_outline(polygon) for polygon in footprints]
    real = [_outline(polygon) for polygon in reference]
    if real:
        outlines = PathCollection(
            real, facecolor="none", edgecolor=MISSED, linewidth=1.0, linestyle="--"
        )
        axes.add_collection(outlines)
    # A dark line below the bright one keeps outlines visible on bright roofs.
    for edge, line, fill in (("black", 2.4, "none"), (FOUND, 1.3, (*FOUND, 0.2))):
        shapes = PathCollection(
            found, facecolor=fill, edgecolor=edge, linewidth=line, joinstyle="miter"
        )
        shapes.set_alpha(0.5 if edge == "black" else None)
        axes.add_collection(shapes)
    return _save(figure, path, dpi)


def _outline(polygon: Any) -> Any:
    """Return a polygon with holes as a matplotlib path, (0, 0) at a pixel's corner."""
    from matplotlib.path import Path as Outline

    rings = getattr(polygon, "__geo_interface__", polygon)["coordinates"]
    # imshow puts the centre of pixel (0, 0) at the origin
    parts = [Outline(np.asarray(r)[:, :2] - 0.5, closed=True) for r in rings]
    return Outline.make_compound_path(*parts)


def curves_figure(
    path: Path,
    records: Sequence[Mapping[str, Any]],
    *,
    step: str = "step",
    dpi: int = 110,
) -> Path:
    """Draw how a training went: one small plot for each number that was logged.

    Args:
        path: PNG to write.
        records: Rows of a metrics CSV; text that is no number is skipped.
        step: Column on the horizontal axis.
        dpi: Resolution.

    Raises:
        ShapeError: If no row has a number beside the step.
        OutputError: If it cannot be written.
    """
    series = _series(records, step)
    if not series:
        raise ShapeError(
            f"found no number beside {step!r} in {len(records)} rows of metrics"
        )
    across = min(3, len(series))
    down = -(-len(series) // across)
    figure = _figure(3.4 * across, 2.4 * down + 0.2)
    grid = figure.subplots(down, across, squeeze=False).ravel()
    for axes, (name, (steps, values)) in zip(grid, series.items(), strict=False):
        axes.plot(steps, values, color="#9fb4c7", linewidth=0.9)
        axes.plot(steps, _running_mean(values), color="#0b4f8a", linewidth=1.6)
        axes.set_title(name, loc="left", fontsize=10, color=_INK)
        axes.tick_params(labelsize=8, colors=_FAINT)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color("#c3c9cf")
        axes.set_xlabel(step, fontsize=8, color=_FAINT)
        axes.grid(axis="y", color="#eceff2")
    for axes in grid[len(series) :]:
        axes.set_axis_off()
    return _save(figure, path, dpi)


def _series(
    records: Sequence[Mapping[str, Any]], step: str
) -> dict[str, tuple[list[float], list[float]]]:
    """Return finite (steps, values) of every numeric column, in order of appearance."""
    series: dict[str, tuple[list[float], list[float]]] = {}
    for record in records:
        at = _number(record.get(step))
        for name, raw in record.items():
            value = _number(raw)
            if name not in (step, "epoch") and at is not None and value is not None:
                steps, values = series.setdefault(name, ([], []))
                steps.append(at)
                values.append(value)
    return series


def _number(raw: Any) -> float | None:
    with suppress(TypeError, ValueError):
        return value if np.isfinite(value := float(raw)) else None
    return None


def _running_mean(values: Sequence[float]) -> NDArray[np.float64]:
    """Smooth over about a twentieth of the run, shorter at its ends."""
    half = len(values) // 40
    return np.array(
        [np.mean(values[max(k - half, 0) : k + half + 1]) for k in range(len(values))]
    )
