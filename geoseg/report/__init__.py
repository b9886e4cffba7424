"""What a run shows: figures as files, and one self-contained page."""

from geoseg.report.figures import curves_figure, overlay_figure, panel_figure
from geoseg.report.painting import (
    PanelHead,
    PanelRow,
    paint_buildings,
    paint_clusters,
    stretch_image,
)

__all__ = [
    "PanelHead",
    "PanelRow",
    "curves_figure",
    "overlay_figure",
    "paint_buildings",
    "paint_clusters",
    "panel_figure",
    "stretch_image",
]
