"""Styles that QGIS loads automatically, in a GeoPackage or in ``NAME.qml`` beside."""

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

_INSIDE = {suffix for kind in FORMATS if kind.style_inside for suffix in kind.suffixes}
# Files for which QGIS loads the .qml of the same name.
_STYLED = {
    suffix for kind in FORMATS if not kind.style_inside for suffix in kind.suffixes
}
_STYLED |= {".shp", ".gml", ".kml"}
_STYLED |= {".tif", ".tiff", ".vrt", ".jp2", ".img", ".png", ".jpg"}


class StyledOutput(NamedTuple):
    """An output with its style.

    Attributes:
        path: Path of the output.
        elements: Elements of its QML.
    """

    path: Path
    elements: list[ET.Element]


def layer_style(layer: str, legend: Legend) -> LayerStyle:
    """Return the style that a GeoPackage stores for its footprint layer."""
    return LayerStyle(qml(footprint_elements(legend)), footprint_sld(layer, legend))


def styled_outputs(
    legend: Legend,
    *,
    footprints: Path | None = None,
    classes: Path | None = None,
    probability: Path | None = None,
) -> list[StyledOutput]:
    """Return the styles of the given outputs.

    Args:
        legend: Legend of the classes; of the clusters, for a raster of these.
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
    """Return the ``.qml`` files to write, with their elements.

    Outputs of the same name share a file. A GeoPackage alone needs none, as it stores its
    style inside. A file is left out, with a warning, if it would also restyle a file that
    is not an output: QGIS shows nothing of a raster with a polygon style.

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
                f"{' and '.join(sorted(rasters))} would share the style {path.name}: give "
                "them different names, or --no-style"
            )
        outside = [o.path.name for o in group if o.path.suffix.lower() not in _INSIDE]
        if not outside:
            continue
        strangers = _strangers(path, {output.path.name for output in group})
        if strangers:
            log.warning(
                "no style for %s: %s would restyle %s too; choose another name, or .gpkg",
                outside[0],
                path.name,
                strangers[0],
            )
        else:
            planned[path] = [element for o in group for element in o.elements]
    return planned


def _strangers(path: Path, outputs: set[str]) -> list[str]:
    """Return the names of other existing files that a style would apply to."""
    beside = (path.with_suffix(suffix) for suffix in sorted(_STYLED))
    return [file.name for file in beside if file.exists() and file.name not in outputs]


def write_style(
    path: Path, elements: Iterable[ET.Element], *, overwrite: bool = False
) -> None:
    """Write a ``.qml`` file.

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
            f"the style just written is not valid XML ({error}); check the free space"
        ) from error
