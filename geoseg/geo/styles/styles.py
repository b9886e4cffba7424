"""Styles that QGIS loads by itself: inside a GeoPackage, else ``NAME.qml`` beside."""

import logging
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from geoseg.core.errors import OutputError, ParameterError
from geoseg.core.outputs import write_aside
from geoseg.geo.formats.formats import FORMATS
from geoseg.geo.formats.layer_styles import LayerStyle
from geoseg.geo.rasters.legend import Legend
from geoseg.geo.styles.qml import (
    footprint_elements,
    paletted_pipe,
    probability_pipe,
    qml,
)
from geoseg.geo.styles.sld import footprint_sld

log = logging.getLogger(__name__)

_INSIDE = {suffix for it in FORMATS if it.style_inside for suffix in it.suffixes}
# Files for which QGIS takes the .qml of their name.
_STYLED = {suffix for it in FORMATS if not it.style_inside for suffix in it.suffixes}
_STYLED |= {".shp", ".gml", ".kml"}
_STYLED |= {".tif", ".tiff", ".vrt", ".jp2", ".img", ".png", ".jpg"}


class StyledOutput(NamedTuple):
    """An output and how it is shown.

    Attributes:
        path: Of the output.
        elements: Of its QML.
    """

    path: Path
    elements: list[ET.Element]


def layer_style(layer: str, legend: Legend) -> LayerStyle:
    """Return the style that a GeoPackage keeps for its layer of footprints."""
    return LayerStyle(qml(footprint_elements(legend)), footprint_sld(layer, legend))


def styled_outputs(
    legend: Legend,
    *,
    footprints: Path | None = None,
    classes: Path | None = None,
    probability: Path | None = None,
) -> list[StyledOutput]:
    """Return the styles of those outputs that are wanted.

    Args:
        legend: Of the classes; for a raster of clusters, of those.
        footprints: Vector file.
        classes: Raster of classes or clusters.
        probability: Raster of probabilities.
    """
    styled = []
    if footprints is not None:
        styled.append(StyledOutput(footprints, footprint_elements(legend)))
    if classes is not None:
        styled.append(StyledOutput(classes, [paletted_pipe(legend)]))
    if probability is not None:
        styled.append(StyledOutput(probability, [probability_pipe(legend)]))
    return styled


def plan_styles(outputs: Iterable[StyledOutput]) -> dict[Path, list[ET.Element]]:
    """Say which ``.qml`` are to be written and what goes into each.

    Outputs of one name share one. None is planned for a GeoPackage alone, which has its
    style inside, nor where it would also restyle a file that is no output: QGIS shows
    nothing of a raster whose style is one of polygons. That is logged.

    Args:
        outputs: All outputs, before they are written.

    Raises:
        ParameterError: If two rasters share a name.
    """
    groups: dict[Path, list[StyledOutput]] = {}
    for output in outputs:
        groups.setdefault(output.path.with_suffix(".qml"), []).append(output)
    planned = {}
    for path, group in groups.items():
        rasters = {output.path.name for output in group if len(output.elements) == 1}
        if len(rasters) > 1:
            raise ParameterError(
                f"{' and '.join(sorted(rasters))} would share the style {path.name}: give them "
                "different names, or --no-style"
            )
        outside = [o.path.name for o in group if o.path.suffix.lower() not in _INSIDE]
        if not outside:
            continue
        strangers = _strangers(path, {output.path.name for output in group})
        if strangers:
            log.warning(
                "no style for %s: %s would restyle %s too; choose another name, or .gpkg",
                *(outside[0], path.name, strangers[0]),
            )
        else:
            planned[path] = [element for o in group for element in o.elements]
    return planned


def _strangers(path: Path, outputs: set[str]) -> list[str]:
    """Name the files that a style applies to beside the outputs."""
    beside = (path.with_suffix(suffix) for suffix in sorted(_STYLED))
    return [it.name for it in beside if it.exists() and it.name not in outputs]


def write_style(
    path: Path, elements: Iterable[ET.Element], *, overwrite: bool = False
) -> None:
    """Write a ``.qml``.

    Raises:
        OutputExistsError: If it exists and ``overwrite`` is False.
        OutputError: If it cannot be written.
    """
    with write_aside(path, verify=_parse, overwrite=overwrite) as temporary:
        temporary.write_text(qml(elements), encoding="utf-8")


def _parse(path: Path) -> None:
    try:
        ET.parse(path)
    except ET.ParseError as error:
        raise OutputError(
            f"the style just written does not parse ({error}); check the free space"
        ) from error
