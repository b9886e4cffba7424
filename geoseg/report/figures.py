"""Figures as PNG files: the panel of some tiles, overlays and training curves.

matplotlib is imported when a figure is drawn: no global state, no display.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.core.classes import TWO_CLASSES
from geoseg.core.errors import ShapeError
from geoseg.core.outputs import write_aside
from geoseg.core.palette import FOUND, INVENTED, MISSED, Colour, class_colours
from geoseg.report.painting import (
    PanelRow,
    Pixels,
    content_note,
    paint_clusters,
    paint_map,
    score_note,
    stretch_image,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK = "#22262b"
_FAINT = "#6b737c"


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


def _legend(figure: "Figure", class_names: Sequence[str], across: int) -> None:
    """Add a legend of the map's colours below the panels."""
    from matplotlib.patches import Patch

    meanings: list[tuple[str, Colour]] = [
        ("building found", FOUND),
        ("building invented", INVENTED),
        ("building missed", MISSED),
    ]
    if len(class_names) > 2:
        colours = class_colours(len(class_names))
        pairs = list(zip(class_names, colours, strict=True))[1:]
        meanings = [(name, (r / 255, g / 255, b / 255)) for name, (r, g, b) in pairs]
        meanings.append((class_names[0], (0.7, 0.7, 0.7)))  # the image in grey
    patches: list[Any] = [Patch(color=c, label=name) for name, c in meanings]
    figure.legend(
        handles=patches,
        loc="outside lower right",
        ncols=min(len(meanings), 2 * across),
        frameon=False,
        fontsize=9,
    )


def panel_figure(
    path: Path,
    rows: Sequence[PanelRow],
    *,
    class_names: Sequence[str] = TWO_CLASSES.names,
    dpi: int = 110,
) -> Path:
    """Draw image, clusters, reference and the map after matching of some tiles.

    Each tile takes two lines: the image and every head's clusters; the reference and
    every head's clusters after matching, with the IoU. Two classes show the buildings
    found, invented and missed; more have the colours of the map's styles.

    Args:
        path: PNG to write.
        rows: The tiles, with equally many heads.
        class_names: Of the rows' class ids, background first.
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
        _draw_row(grid[2 * number], grid[2 * number + 1], row, len(class_names))
    if any(row.truth is not None for row in rows):
        _legend(figure, class_names, across)
    return _save(figure, path, dpi)


def _draw_row(
    upper: Sequence["Axes"], lower: Sequence["Axes"], row: PanelRow, count: int
) -> None:
    image = stretch_image(row.image, row.valid)
    _show(upper[0], image, row.title)
    if row.truth is None:
        lower[0].set_axis_off()
    else:
        painted = paint_map(image, row.truth, count=count)
        _show(lower[0], painted, "reference", content_note(row.truth, count))
    for head, top, bottom in zip(row.heads, upper[1:], lower[1:], strict=True):
        used = np.setdiff1d(head.clusters, [-1]).size
        _show(top, paint_clusters(head.clusters), head.name, f"{used} clusters")
        note = score_note(head.classes, row.truth, count)
        painted = paint_map(image, head.classes, row.truth, count=count)
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
    """Draw training curves, one small plot for each logged number.

    Args:
        path: PNG to write.
        records: Rows of a metrics CSV; text that is no number is skipped.
        step: Column on the horizontal axis.
        dpi: Resolution.

    Raises:
        ShapeError: If no row has a number beside the step.
        OutputError: If it cannot be written.
    """
    found = series(records, step)
    if not found:
        raise ShapeError(
            f"found no number beside {step!r} in {len(records)} rows of metrics"
        )
    across = min(3, len(found))
    down = -(-len(found) // across)
    figure = _figure(3.4 * across, 2.4 * down + 0.2)
    grid = figure.subplots(down, across, squeeze=False).ravel()
    for axes, (name, (steps, values)) in zip(grid, found.items(), strict=False):
        axes.plot(steps, values, color="#9fb4c7", linewidth=0.9)
        axes.plot(steps, _running_mean(values), color="#0b4f8a", linewidth=1.6)
        axes.set_title(name, loc="left", fontsize=10, color=_INK)
        axes.tick_params(labelsize=8, colors=_FAINT)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color("#c3c9cf")
        axes.set_xlabel(step, fontsize=8, color=_FAINT)
        axes.grid(axis="y", color="#eceff2")
    for axes in grid[len(found) :]:
        axes.set_axis_off()
    return _save(figure, path, dpi)


def series(
    records: Sequence[Mapping[str, Any]], step: str
) -> dict[str, tuple[list[float], list[float]]]:
    """Return finite (steps, values) of every numeric column, in order of appearance."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for record in records:
        at = _number(record.get(step))
        for name, raw in record.items():
            value = _number(raw)
            if name not in (step, "epoch") and at is not None and value is not None:
                steps, values = found.setdefault(name, ([], []))
                steps.append(at)
                values.append(value)
    return found


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
