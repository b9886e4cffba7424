"""What a vector file holds."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import shapely
from rasterio.crs import CRS
from shapely.geometry import shape

from geoseg.errors import LabelError
from geoseg.geo.layouts import TABLE_SUFFIXES

#: Where GeoPackages keep QGIS's styles.
_STYLES = "layer_styles"
_PARQUET = (".parquet", ".geoparquet")
#: Values of an attribute that are counted, at most: more are no classes.
FEW = 12


@dataclass(frozen=True)
class LayerFacts:
    """A layer of a vector file.

    Attributes:
        name: Of the layer.
        driver: GDAL's name of the format.
        features: Number of features.
        crs: Short name of the CRS, or None.
        attributes: Name → type.
        values: Name → value → features, of attributes with few values, and no fraction.
        geometries: Geometry type → count; ``none`` counts features without geometry.
        invalid: How many geometries cross themselves or are otherwise invalid.
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


def inspect_vector(path: Path) -> list[LayerFacts]:
    """Look at the layers of a vector file, but for the table of their styles.

    Raises:
        LabelError: If it is absent or cannot be read.
    """
    if not path.is_file():
        raise LabelError(f"{path} does not exist, expected a vector file")
    if path.suffix.lower() in (*_PARQUET, *TABLE_SUFFIXES):
        return [_inspect_table(path)]
    # fiona brings a GDAL of its own and takes a while to import
    import fiona

    try:
        names = [name for name in fiona.listlayers(path) if name != _STYLES]
        return [_inspect_layer(path, name) for name in names]
    except (fiona.errors.FionaError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise LabelError(
            f"{path} cannot be read ({reason}), expected a vector file: check it with "
            "ogrinfo"
        ) from error


def _inspect_layer(path: Path, name: str) -> LayerFacts:
    import fiona

    with fiona.open(path, layer=name) as source:
        rows = (
            (shape(item.geometry) if item.geometry else None, item.properties)
            for item in source
        )
        return _facts(
            rows,
            name=name,
            driver=source.driver,
            crs=CRS.from_wkt(source.crs_wkt) if source.crs_wkt else None,
            attributes=dict(source.schema["properties"]),
        )


def _inspect_table(path: Path) -> LayerFacts:
    """Look at GeoParquet, or a CSV of WKT, which fiona does not read."""
    from geoseg.geo.label_files import read_columns  # imports torch

    columns = read_columns(str(path))
    values = list(columns.values.items())
    rows = (
        (geometry, {name: column[number] for name, column in values})
        for number, geometry in enumerate(columns.geometries)
    )
    return _facts(
        rows,
        name=path.stem,
        driver="Parquet" if path.suffix.lower() in _PARQUET else "CSV",
        crs=columns.crs,
        attributes=columns.types,
    )


def _facts(
    rows: Iterable[tuple[Any, Mapping[str, Any]]],
    *,
    name: str,
    driver: str,
    crs: CRS | None,
    attributes: dict[str, str],
) -> LayerFacts:
    """Count what the features of a layer are."""
    kinds: Counter[str] = Counter()
    values: dict[str, Counter[str]] = {field: Counter() for field in attributes}
    invalid, why = 0, None
    boxes: list[tuple[float, ...]] = []
    for geometry, properties in rows:
        _count(values, properties)
        kinds["none" if geometry is None else _kind(geometry)] += 1
        if geometry is None or geometry.is_empty:
            continue
        boxes.append(geometry.bounds)
        if not geometry.is_valid:
            invalid += 1
            why = why or shapely.is_valid_reason(geometry)
    return LayerFacts(
        name=name,
        driver=driver,
        features=sum(kinds.values()),
        crs=crs.to_string() if crs else None,
        attributes=attributes,
        values={field: dict(found.most_common()) for field, found in values.items()},
        geometries=dict(kinds),
        invalid=invalid,
        why=why,
        bounds=_union(boxes),
    )


def _count(values: dict[str, Counter[str]], properties: Mapping[str, Any]) -> None:
    """Count a feature's values; attributes of fractions or many values are dropped."""
    for field, found in list(values.items()):
        value = properties.get(field)
        if isinstance(value, float):
            value = int(value) if value.is_integer() else value
        found["null" if value is None else str(value)] += 1
        if len(found) > FEW or isinstance(value, float):
            del values[field]


def may_be_classes(values: Mapping[str, int]) -> bool:
    """Tell whether an attribute's values are several, and come again.

    Example:
        >>> may_be_classes({"house": 7, "road": 2}), may_be_classes({"1": 1, "2": 1})
        (True, False)
    """
    return 1 < len(values) <= FEW and sum(values.values()) >= 2 * len(values)


def _kind(geometry: Any) -> str:
    return f"{geometry.geom_type}{' Z' if geometry.has_z else ''}"


def _union(boxes: list[tuple[float, ...]]) -> tuple[float, ...] | None:
    if not boxes:
        return None
    west, south, east, north = zip(*boxes, strict=True)
    return min(west), min(south), max(east), max(north)
