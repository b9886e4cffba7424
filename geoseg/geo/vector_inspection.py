"""What a vector file holds."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import shapely
from rasterio.crs import CRS
from shapely.geometry import shape

from geoseg.errors import LabelError

#: Where GeoPackages keep QGIS's styles.
_STYLES = "layer_styles"


@dataclass(frozen=True)
class LayerFacts:
    """A layer of a vector file.

    Attributes:
        name: Of the layer.
        driver: GDAL's name of the format.
        features: Number of features.
        crs: Short name of the CRS, or None.
        attributes: Name → type.
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
    geometries: dict[str, int]
    invalid: int
    why: str | None
    bounds: tuple[float, ...] | None


def inspect_vector(path: Path) -> list[LayerFacts]:
    """Look at the layers of a vector file, but for the table of their styles.

    Raises:
        LabelError: If it is absent or cannot be read.
    """
    # fiona brings a GDAL of its own and takes a while to import
    import fiona

    if not path.is_file():
        raise LabelError(f"{path} does not exist, expected a vector file")
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

    kinds: Counter[str] = Counter()
    invalid, why = 0, None
    boxes: list[tuple[float, ...]] = []
    with fiona.open(path, layer=name) as source:
        for feature in source:
            geometry = shape(feature.geometry) if feature.geometry else None
            kinds["none" if geometry is None else _kind(geometry)] += 1
            if geometry is None or geometry.is_empty:
                continue
            boxes.append(geometry.bounds)
            if not geometry.is_valid:
                invalid += 1
                why = why or shapely.is_valid_reason(geometry)
        wkt = source.crs_wkt
        return LayerFacts(
            name=name,
            driver=source.driver,
            features=sum(kinds.values()),
            crs=CRS.from_wkt(wkt).to_string() if wkt else None,
            attributes=dict(source.schema["properties"]),
            geometries=dict(kinds),
            invalid=invalid,
            why=why,
            bounds=_union(boxes),
        )


def _kind(geometry: Any) -> str:
    return f"{geometry.geom_type}{' Z' if geometry.has_z else ''}"


def _union(boxes: list[tuple[float, ...]]) -> tuple[float, ...] | None:
    if not boxes:
        return None
    west, south, east, north = zip(*boxes, strict=True)
    return min(west), min(south), max(east), max(north)
