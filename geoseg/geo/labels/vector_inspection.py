"""Inspection of the layers of a vector file."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import shapely
from rasterio.crs import CRS

from geoseg.core.errors import LabelError, remedy
from geoseg.geo.labels.loose_geometries import each_feature, readable_geometry
from geoseg.geo.labels.tables import Columns, read_columns
from geoseg.geo.sources.vector_files import list_layers, open_vectors

if TYPE_CHECKING:
    import fiona

_DRIVERS = {
    **dict.fromkeys((".parquet", ".geoparquet"), "Parquet"),
    **dict.fromkeys((".geojson", ".json"), "GeoJSON"),
    **dict.fromkeys((".geojsonl", ".ndjson"), "GeoJSONSeq"),
    ".csv": "CSV",
}
#: Table of QGIS's styles in a GeoPackage.
_STYLES = "layer_styles"
#: Most different values of an attribute that may be the class.
FEW = 12


@dataclass(frozen=True)
class LayerFacts:
    """A layer of a vector file.

    Attributes:
        name: Name of the layer.
        driver: GDAL's name of the format.
        features: Number of features.
        crs: Short name of the CRS, or None.
        attributes: Name → type.
        values: Name → value → features, for attributes with few values and no
            fractions.
        geometries: Geometry type → count; ``none`` counts features without a geometry,
            ``unreadable`` those with an unreadable one.
        invalid: Number of geometries that cross themselves or are otherwise invalid.
        why: What is wrong with the first of them.
        bounds: West, south, east, north in the CRS; None without geometries.
    """

    name: str
    driver: str
    features: int
    crs: str | None
    attributes: dict[str, str]
    values: dict[str, dict[str, int]]
    geometries: dict[str, int]
    invalid: int
    why: str | None
    bounds: tuple[float, ...] | None


class _Row(NamedTuple):
    """A feature: its geometry, what is wrong with the geometry, and its attributes."""

    geometry: Any
    wrong: str
    properties: Mapping[str, Any]


def inspect_vector(path: Path) -> list[LayerFacts]:
    """Inspect the layers of a vector file, without the table of styles.

    Raises:
        LabelError: If the file is absent or cannot be read.
    """
    if not path.is_file():
        raise LabelError(f"{path} does not exist, expected a vector file")
    columns = read_columns(str(path))
    if columns is not None:
        return [_inspect_table(path, columns)]
    # fiona brings a GDAL of its own and takes a while to import
    import fiona

    try:
        names = [name for name in list_layers(path) if name != _STYLES]
        return [_inspect_layer(path, name) for name in names]
    except (
        fiona.errors.FionaError,
        fiona._err.CPLE_BaseError,
        OSError,
        ValueError,
    ) as error:
        reason = " ".join(str(error).split())
        known = getattr(error, "errno", None) is not None
        what = remedy(error) if known else "check it with ogrinfo"
        raise LabelError(
            f"{path} cannot be read ({reason}), expected a vector file: {what}"
        ) from error


def _inspect_layer(path: Path, name: str) -> LayerFacts:
    with open_vectors(path, name) as source:
        fields = {
            field: str(kind) for field, kind in source.schema["properties"].items()
        }
        if not any(isinstance(item, Exception) for item in each_feature(source)):
            return _facts_of_layer(source, name, fields)
    readable = [field for field in fields if _decodes(path, name, field)]
    with open_vectors(path, name, include_fields=readable) as source:
        fields |= {field: "unreadable" for field in fields if field not in readable}
        return _facts_of_layer(source, name, fields)


def _decodes(path: Path, name: str, field: str) -> bool:
    """Tell whether the values of an attribute can be decoded (dates may be invalid)."""
    with open_vectors(path, name, include_fields=[field]) as source:
        return not any(isinstance(item, Exception) for item in each_feature(source))


def _facts_of_layer(
    source: "fiona.Collection", name: str, fields: dict[str, str]
) -> LayerFacts:
    rows = []
    for item in each_feature(source):
        if isinstance(item, Exception):
            rows.append(_Row(None, " ".join(str(item).split()), {}))
        elif item.geometry is None:
            rows.append(_Row(None, "", item.properties))
        else:
            geometry = readable_geometry(item.geometry.__geo_interface__)
            rows.append(_Row(*geometry, item.properties))
    return _facts(
        rows,
        name=name,
        driver=source.driver,
        crs=CRS.from_wkt(source.crs_wkt) if source.crs_wkt else None,
        attributes=fields,
    )


def _inspect_table(path: Path, columns: Columns) -> LayerFacts:
    """Inspect a file that fiona does not read."""
    values = list(columns.values.items())
    rows = (
        _Row(
            geometry,
            columns.unreadable.get(number, ""),
            {name: column[number] for name, column in values},
        )
        for number, geometry in enumerate(columns.geometries)
    )
    return _facts(
        rows,
        name=columns.name or path.stem,
        driver=_DRIVERS[path.suffix.lower()],
        crs=columns.crs,
        attributes=columns.types,
    )


def _facts(
    rows: Iterable[_Row],
    *,
    name: str,
    driver: str,
    crs: CRS | None,
    attributes: dict[str, str],
) -> LayerFacts:
    """Return the statistics of a layer's features."""
    kinds: Counter[str] = Counter()
    values: dict[str, Counter[str]] = {field: Counter() for field in attributes}
    invalid, why = 0, None
    boxes: list[tuple[float, ...]] = []
    for geometry, wrong, properties in rows:
        _count(values, properties)
        if geometry is None:
            kinds["unreadable" if wrong else "none"] += 1
        else:
            kinds[_kind(geometry)] += 1
            if not geometry.is_empty and np.isfinite(geometry.bounds).all():
                boxes.append(geometry.bounds)
            wrong = wrong or _what_is_wrong(geometry)
        if wrong:
            invalid += 1
            why = why or wrong
    return LayerFacts(
        name=name,
        driver=driver,
        features=sum(kinds.values()),
        crs=crs.to_string() if crs else None,
        attributes=attributes,
        values={field: dict(counts.most_common()) for field, counts in values.items()},
        geometries=dict(kinds),
        invalid=invalid,
        why=why,
        bounds=_union(boxes),
    )


def _count(values: dict[str, Counter[str]], properties: Mapping[str, Any]) -> None:
    """Count a feature's values; drop attributes with fractions or many values."""
    for field, counts in list(values.items()):
        value = properties.get(field)
        if isinstance(value, float):
            value = int(value) if value.is_integer() else value
        counts["null" if value is None else str(value)] += 1
        if len(counts) > FEW or isinstance(value, float):
            del values[field]


def may_be_classes(values: Mapping[str, int]) -> bool:
    """Tell whether an attribute has several values that repeat.

    Example:
        >>> may_be_classes({"house": 7, "road": 2}), may_be_classes({"1": 1, "2": 1})
        (True, False)
    """
    return 1 < len(values) <= FEW and sum(values.values()) >= 2 * len(values)


def _what_is_wrong(geometry: Any) -> str:
    """Return what is wrong with a geometry, or ""."""
    if not np.isfinite(shapely.get_coordinates(geometry)).all():
        return "coordinates that are not finite"
    return "" if geometry.is_valid else str(shapely.is_valid_reason(geometry))


def _kind(geometry: Any) -> str:
    return f"{geometry.geom_type}{' Z' if geometry.has_z else ''}"


def _union(boxes: list[tuple[float, ...]]) -> tuple[float, ...] | None:
    if not boxes:
        return None
    west, south, east, north = zip(*boxes, strict=True)
    return min(west), min(south), max(east), max(north)
