"""Legends: names and colours of raster values and footprint classes."""

from collections.abc import Sequence
from typing import NamedTuple

from geoseg.core.palette import Rgb, class_colours, cluster_colours


class LegendEntry(NamedTuple):
    """One value of a raster.

    Attributes:
        value: As stored, 0 to 254.
        name: Name for display.
        colour: Colour from :mod:`geoseg.core.palette`.
        shown: False if styles make the value transparent.
    """

    value: int
    name: str
    colour: Rgb
    shown: bool = True


Legend = tuple[LegendEntry, ...]


def class_legend(names: Sequence[str]) -> Legend:
    """Return the legend of classes, background first.

    Raises:
        ParameterError: If there are none, or more than a byte holds.
    """
    colours = class_colours(len(names))
    return tuple(
        LegendEntry(value, name, colour, shown=value > 0)
        for value, (name, colour) in enumerate(zip(names, colours, strict=True))
    )


def cluster_legend(count: int) -> Legend:
    """Return the legend of clusters, in the colours of the report's panels."""
    return tuple(
        LegendEntry(cluster, f"cluster {cluster}", (red, green, blue))
        for cluster, (red, green, blue) in enumerate(
            (cluster_colours(count) * 255).round().astype(int).tolist()
        )
    )
