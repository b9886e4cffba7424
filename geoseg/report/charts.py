"""Charts as inline SVG: sharp at any size, and in the page's own colours.

Colours are classes of the style sheet, so that a chart is right in light, in dark and
on paper.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from geoseg.core.palette import cluster_colours, hex_colour
from geoseg.report.contents import Areas, Curve
from geoseg.report.html import Html, element, join

#: Points of a drawn line at most; more are invisible and make the page heavy.
MOST_POINTS = 240
#: Room left of the plot for the labels of its axis, and right of it.
LEFT, RIGHT = 52.0, 14.0


class Scale(NamedTuple):
    """From values to places along an axis."""

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
) -> Html:
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
    marks = join(_axes(frame, x_label, x_ticks, y_label, flat), *drawn)
    width, height = size
    drawing = element(
        "svg",
        element("title", title),
        marks,
        viewBox=f"0 0 {width} {height}",
        role="img",
        class_="chart",
    )
    return element("div", drawing, _legend(curves, looks) if len(curves) > 1 else None)


def _looks(curves: Sequence[Curve]) -> list[str]:
    """Return CSS classes: the role, and ``hollow`` for every second curve of a role."""
    seen: dict[str, int] = {}
    looks = []
    for curve in curves:
        number = seen[curve.role] = seen.get(curve.role, -1) + 1
        looks.append(f"{curve.role} hollow" if number % 2 else curve.role)
    return looks


def _dodges(curves: Sequence[Curve]) -> list[float]:
    """Return how far single points move aside, so that none hides another."""
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
) -> Html:
    x, y = frame.x, frame.y
    left, right = LEFT, frame.width - RIGHT
    parts = []
    for value in ticks(y.low, y.high) if y_ticks is None else y_ticks:
        at = y(value)
        parts.append(element("path", d=f"M{left} {at}H{right}", class_="grid"))
        text = element("text", short(value), x=left - 8, y=at + 4, class_="end")
        parts.append(text)
    values = ticks(x.low, x.high, 5) if x_ticks is None else x_ticks
    for value in values:
        place = x(value)
        parts.append(
            element("text", short(value), x=place, y=y.start + 18, class_="middle")
        )
    parts.append(element("path", d=f"M{left} {y.start}H{right}", class_="axis"))
    middle = (x.start + x.end) / 2
    label = element("text", x_label, x=middle, y=frame.height - 4, class_="label")
    if y_label:
        at = (y.start + y.end) / 2
        turned = f"rotate(-90 12 {at})"
        parts.append(
            element("text", y_label, x=12, y=at, transform=turned, class_="middle")
        )
    return join(*parts, label)


def _curve(curve: Curve, frame: Frame, look: str, dodge: float) -> Html:
    x, y = frame.x, frame.y
    step = max(1, math.ceil(len(curve.x) / MOST_POINTS))
    kept = [
        n
        for n in range(len(curve.x))
        if (n % step == 0 or n == len(curve.x) - 1) and math.isfinite(curve.y[n])
    ]
    points = [(x(curve.x[n]) + dodge, y(curve.y[n])) for n in kept]
    parts = []
    if curve.low and curve.line:
        lower = [(x(curve.x[n]), y(curve.low[n])) for n in kept]
        upper = [(x(curve.x[n]), y(curve.high[n])) for n in kept]
        parts.append(
            element("path", d=_path([*upper, *lower[::-1]]) + "Z", class_="band")
        )
    elif curve.low:
        for n in kept:
            at = x(curve.x[n]) + dodge
            whisker = f"M{at} {y(curve.low[n])}V{y(curve.high[n])}"
            parts.append(element("path", d=whisker, class_="line"))
    if curve.line and len(points) > 1:
        parts.append(element("path", d=_path(points), class_="line"))
    if len(points) <= 12 or not curve.line:
        parts += [element("circle", cx=a, cy=b, r=4, class_="dot") for a, b in points]
    return element("g", *parts, class_=f"curve {look}")


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{a} {b}" for a, b in points)


def _legend(curves: Sequence[Curve], looks: Sequence[str]) -> Html:
    items = [
        element("li", element("span", class_=f"key round {look}"), " ", curve.name)
        for curve, look in zip(curves, looks, strict=True)
    ]
    return element("ul", *items, class_="legend")


def short(value: float) -> str:
    """Write a number as an axis shows it, with a proper minus.

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


def area_chart(areas: Areas, *, size: tuple[int, int] = (460, 220)) -> Html:
    """Draw how the clusters of a head shared the pixels, stacked, in their colours."""
    count = len(areas.shares[0])
    step = max(1, math.ceil(len(areas.steps) / MOST_POINTS))
    steps, shares = areas.steps[::step], areas.shares[::step]
    curve = Curve("", list(steps), [0.0] * len(steps))
    frame = _frame([curve], False, (0.0, 1.0), size)
    below = [0.0] * len(steps)
    parts = []
    for cluster, colour in enumerate(cluster_colours(count)):
        above = [b + row[cluster] for b, row in zip(below, shares, strict=True)]
        lower = [(frame.x(s), frame.y(v)) for s, v in zip(steps, below, strict=True)]
        upper = [(frame.x(s), frame.y(v)) for s, v in zip(steps, above, strict=True)]
        outline = _path([*upper, *lower[::-1]]) + "Z"
        label = element("title", f"cluster {cluster}")
        parts.append(element("path", label, d=outline, fill=css_colour(colour)))
        below = above
    width, height = size
    return element(
        "svg",
        element("title", f"areas of the {count} clusters of head {areas.head} by step"),
        *parts,
        _axes(frame, "step", None),
        viewBox=f"0 0 {width} {height}",
        role="img",
        class_="chart",
    )


def interval_bar(value: float, low: float, high: float, role: str) -> Html:
    """Draw a score in [0, 1] with its interval, to stand in a table's row."""
    scale = Scale(0.0, 1.0, 4, 156)
    marks = [element("path", d="M4 10H156", class_="grid")]
    if math.isfinite(low) and math.isfinite(high):
        whisker = f"M{scale(low)} 10H{scale(high)}"
        marks.append(element("path", d=whisker, class_="line"))
    marks.append(element("circle", cx=scale(value), cy=10, r=4.5, class_="dot"))
    return element(
        "svg",
        element("g", *marks, class_=f"curve {role}"),
        viewBox="0 0 160 20",
        class_="interval",
        aria_hidden="true",
    )


def css_colour(colour: Sequence[float]) -> str:
    """Write red, green and blue in [0, 1] as ``#rrggbb``."""
    red, green, blue = (round(255 * part) for part in colour)
    return hex_colour((red, green, blue))
