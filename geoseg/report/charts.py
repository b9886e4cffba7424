"""Charts as inline SVG, which scale without loss and use the page's colours.

Colours are classes of the style sheet, so that a chart is right in light, in dark and
on paper.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from geoseg.core.palette import cluster_colours, css_colour
from geoseg.report.contents import Areas, Contents, Curve
from geoseg.report.rendering import render

#: Points of a drawn line at most; more are invisible and make the page heavy.
MOST_POINTS = 240
#: Width and height of small charts.
SMALL = (340, 210)
#: Room left of the plot for the labels of its axis, and right of it.
LEFT, RIGHT = 52.0, 14.0


class Scale(NamedTuple):
    """Maps values to positions along an axis."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = self.low, self.high, value
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(value)
        share = (at - low) / (high - low) if high > low else 0.5
        return round(self.start + share * (self.end - self.start), 2)


class Mark(NamedTuple):
    """A path if it has ``d``, else a text if it has one, else a dot of radius ``r``."""

    kind: str = ""  # class of the style sheet
    d: str = ""
    text: str = ""  # of a path: what it is
    x: float = 0.0
    y: float = 0.0
    r: float = 4.0
    turned: bool = False  # reads upwards
    fill: str = ""


class Group(NamedTuple):
    """Marks from back to front, and the classes of the style sheet of them all."""

    look: str
    marks: Sequence[Mark]


class Frame(NamedTuple):
    """Where the plot lies within the drawing, and the scales of its axes."""

    width: float
    height: float
    x: Scale
    y: Scale


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Return round numbers within a range, about ``count`` of them.

    Example:
        >>> ticks(0.0, 1.0)
        [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    span = high - low
    if not span > 0:
        return [low]
    rough = span / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= 0.75 * rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(n * step, 12) for n in range(first, last + 1)]


def line_chart(
    curves: Sequence[Curve],
    *,
    title: str,
    x_label: str,
    log_x: bool = False,
    x_ticks: Sequence[float] | None = None,
    y_range: tuple[float, float] | None = None,
    y_label: str = "",
    size: tuple[int, int] = (460, 260),
) -> Markup:
    """Draw curves with their intervals, a legend below if there are several.

    Args:
        curves: One at least, each with one point at least.
        title: Said to screen readers.
        x_label: Below the horizontal axis.
        log_x: Whether that axis is logarithmic.
        x_ticks: Where it is labelled; round numbers by default.
        y_range: Of the vertical axis; by default that of the values.
        y_label: Beside the vertical axis.
        size: Width and height of the drawing.
    """
    frame = _frame(curves, log_x, y_range, size)
    looks = _looks(curves)
    drawn = [
        _curve(curve, frame, look, dodge)
        for curve, look, dodge in zip(curves, looks, _dodges(curves), strict=True)
    ]
    heights = {y for curve in curves for y in (*curve.y, *curve.low, *curve.high)}
    flat = sorted(heights) if len(heights) == 1 and y_range is None else None
    axes = Group("", _axes(frame, x_label, x_ticks, y_label, flat))
    names = [curve.name for curve in curves]
    legend = list(zip(looks, names, strict=True)) if len(curves) > 1 else []
    return _draw([axes, *drawn], size, title=title, legend=legend)


def _draw(
    groups: Sequence[Group],
    size: tuple[int, int],
    *,
    title: str = "",
    kind: str = "chart",
    legend: Sequence[tuple[str, str]] = (),
) -> Markup:
    """Write a drawing as SVG; screen readers skip it if it has no title."""
    width, height = size
    values = {"title": title, "kind": kind, "groups": groups, "legend": legend}
    return Markup(render("chart.svg.jinja", width=width, height=height, **values))


def _looks(curves: Sequence[Curve]) -> list[str]:
    """Return CSS classes: the role, and ``hollow`` for every second curve of a role."""
    seen: dict[str, int] = {}
    looks = []
    for curve in curves:
        number = seen[curve.role] = seen.get(curve.role, -1) + 1
        looks.append(f"{curve.role} hollow" if number % 2 else curve.role)
    return looks


def _dodges(curves: Sequence[Curve]) -> list[float]:
    """Return horizontal offsets of single points, so that none hides another."""
    points = [n for n, curve in enumerate(curves) if not curve.line]
    dodges = [0.0] * len(curves)
    for number in points:
        x = curves[number].x[0]
        same = [n for n in points if curves[n].x[0] == x]
        dodges[number] = 14.0 * (same.index(number) - (len(same) - 1) / 2)
    return dodges


def _frame(
    curves: Sequence[Curve],
    log_x: bool,
    y_range: tuple[float, float] | None,
    size: tuple[int, int],
) -> Frame:
    xs = [x for curve in curves for x in curve.x]
    ys = [y for curve in curves for y in (*curve.y, *curve.low, *curve.high)]
    ys = [y for y in ys if math.isfinite(y)]
    low, high = y_range or (min(ys), max(ys))
    if y_range is None:
        room = 0.06 * (high - low) or 0.05 * (abs(high) or 1.0)
        low, high = low - room, high + room
    width, height = size
    top, bottom = 12.0, 42.0
    # Single points and their whiskers stand apart from the axis.
    inset = 0.0 if all(len(curve.x) > 12 for curve in curves) else 26.0
    return Frame(
        width,
        height,
        Scale(min(xs), max(xs), LEFT + inset, width - RIGHT - inset, log_x),
        Scale(low, high, height - bottom, top),
    )


def _axes(
    frame: Frame,
    x_label: str,
    x_ticks: Sequence[float] | None,
    y_label: str = "",
    y_ticks: Sequence[float] | None = None,
) -> list[Mark]:
    x, y = frame.x, frame.y
    left, right = LEFT, frame.width - RIGHT
    marks = []
    for value in ticks(y.low, y.high) if y_ticks is None else y_ticks:
        at = y(value)
        marks.append(Mark("grid", d=f"M{left} {at}H{right}"))
        marks.append(Mark("end", text=short(value), x=left - 8, y=at + 4))
    for value in ticks(x.low, x.high, 5) if x_ticks is None else x_ticks:
        marks.append(Mark("middle", text=short(value), x=x(value), y=y.start + 18))
    marks.append(Mark("axis", d=f"M{left} {y.start}H{right}"))
    if y_label:
        at = (y.start + y.end) / 2
        marks.append(Mark("middle", text=y_label, x=12, y=at, turned=True))
    middle = (x.start + x.end) / 2
    return [*marks, Mark("label", text=x_label, x=middle, y=frame.height - 4)]


def _curve(curve: Curve, frame: Frame, look: str, dodge: float) -> Group:
    x, y = frame.x, frame.y
    step = max(1, math.ceil(len(curve.x) / MOST_POINTS))
    kept = [
        n
        for n in range(len(curve.x))
        if (n % step == 0 or n == len(curve.x) - 1) and math.isfinite(curve.y[n])
    ]
    points = [(x(curve.x[n]) + dodge, y(curve.y[n])) for n in kept]
    marks = []
    if curve.low and curve.line:
        lower = [(x(curve.x[n]), y(curve.low[n])) for n in kept]
        upper = [(x(curve.x[n]), y(curve.high[n])) for n in kept]
        marks.append(Mark("band", d=_path([*upper, *lower[::-1]]) + "Z"))
    elif curve.low:
        for n in kept:
            at = x(curve.x[n]) + dodge
            whisker = f"M{at} {y(curve.low[n])}V{y(curve.high[n])}"
            marks.append(Mark("line", d=whisker))
    if curve.line and len(points) > 1:
        marks.append(Mark("line", d=_path(points)))
    if len(points) <= 12 or not curve.line:
        marks += [Mark("dot", x=a, y=b) for a, b in points]
    return Group(f"curve {look}", marks)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{a} {b}" for a, b in points)


def short(value: float) -> str:
    """Write a number for an axis, with a typographic minus sign.

    Example:
        >>> short(0.25), short(1000.0), short(-2.0), short(1e-4)
        ('0.25', '1000', '−2', '1e−4')
    """
    small = value != 0 and abs(value) < 1e-3
    text = f"{value:.6g}"
    if small:
        digits, power = f"{value:.1e}".split("e")
        text = f"{float(digits):g}e{int(power)}"
    return text.replace("-", "−")


def area_chart(areas: Areas, *, size: tuple[int, int] = (460, 220)) -> Markup:
    """Draw the shares of a head's clusters over the training, stacked."""
    count = len(areas.shares[0])
    step = max(1, math.ceil(len(areas.steps) / MOST_POINTS))
    steps, shares = areas.steps[::step], areas.shares[::step]
    curve = Curve("", list(steps), [0.0] * len(steps))
    frame = _frame([curve], False, (0.0, 1.0), size)
    below = [0.0] * len(steps)
    marks = []
    for cluster, colour in enumerate(cluster_colours(count)):
        above = [b + row[cluster] for b, row in zip(below, shares, strict=True)]
        lower = [(frame.x(s), frame.y(v)) for s, v in zip(steps, below, strict=True)]
        upper = [(frame.x(s), frame.y(v)) for s, v in zip(steps, above, strict=True)]
        outline = _path([*upper, *lower[::-1]]) + "Z"
        name = f"cluster {cluster}"
        marks.append(Mark(d=outline, text=name, fill=css_colour(colour)))
        below = above
    title = f"areas of the {count} clusters of head {areas.head} by step"
    groups = [Group("", marks), Group("", _axes(frame, "step", None))]
    return _draw(groups, size, title=title)


def interval_bar(value: float, low: float, high: float, role: str) -> Markup:
    """Draw a score in [0, 1] with its interval, for a row of a table.

    Nothing is drawn of a score that is not defined.
    """
    if math.isnan(value):
        return Markup()
    scale = Scale(0.0, 1.0, 4, 156)
    marks = [Mark("grid", d="M4 10H156")]
    if math.isfinite(low) and math.isfinite(high):
        marks.append(Mark("line", d=f"M{scale(low)} 10H{scale(high)}"))
    marks.append(Mark("dot", x=scale(value), y=10, r=4.5))
    return _draw([Group(f"curve {role}", marks)], (160, 20), kind="interval")


def score_chart(
    curves: Sequence[Curve], class_names: Sequence[str], *, by: str, x_label: str
) -> Markup:
    """Draw a score against a number."""
    values = sorted({x for curve in curves for x in curve.x})
    measure = "IoU" if len(class_names) == 2 else "mean IoU"
    return line_chart(
        curves,
        title=f"{measure} by {by}",
        x_label=x_label,
        y_label=measure,
        log_x=len(values) > 1,
        x_ticks=values,
        y_range=from_zero(curves),
    )


def from_zero(curves: Sequence[Curve]) -> tuple[float, float]:
    """Return the range of an axis of scores: from 0 to a little above the highest."""
    values = [v for curve in curves for v in (*curve.y, *curve.high)]
    highest = max((v for v in values if math.isfinite(v)), default=1.0)
    return 0.0, min(1.0, max(0.1, 1.1 * highest))


def training_charts(contents: Contents) -> list[tuple[str, Markup]]:
    """Return small charts of logged numbers and of cluster areas, with their names."""
    drawn = [
        (
            curve.name.replace("_", " "),
            line_chart([curve], title=curve.name, x_label="step", size=SMALL),
        )
        for curve in contents.training
    ]
    return drawn + [
        (f"cluster areas, head {areas.head}", area_chart(areas, size=SMALL))
        for areas in contents.areas
    ]
