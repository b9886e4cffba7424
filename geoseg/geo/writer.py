"""Footprints to files that a GIS opens: GeoJSON and GeoPackage."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import fiona
import numpy as np
import numpy.typing as npt
import rasterio.crs
import shapely
from pyproj import Transformer

from geoseg.errors import OutputError, RasterError
from geoseg.geo.layer_styles import add_layer_style
from geoseg.geo.outputs import check_format, write_aside
from geoseg.geo.vectorize import Footprint

SCHEMA = {
    "geometry": "Polygon",
    "properties": {
        "id": "int",
        "class": "str",
        "score": "float",
        "area_m2": "float",
        "perimeter_m": "float",
    },
}

#: Driver options; 1.2 of GeoPackage because older QGIS warns of newer ones.
_OPTIONS: dict[str, dict[str, str]] = {
    "GeoJSON": {"RFC7946": "YES", "COORDINATE_PRECISION": "7"},
    "GPKG": {"VERSION": "1.2", "SPATIAL_INDEX": "YES"},
}

#: Footprints reprojected and written at a time.
CHUNK = 1000


class LayerStyle(NamedTuple):
    """How a GeoPackage shows its footprints by itself.

    Attributes:
        qml: For QGIS.
        sld: For other programs.
    """

    qml: str
    sld: str


def write_footprints(
    path: Path,
    footprints: Iterable[Footprint],
    *,
    crs: rasterio.crs.CRS | None,
    overwrite: bool = False,
    style: LayerStyle | None = None,
) -> int:
    """Write footprints to GeoJSON (RFC 7946, WGS 84) or GeoPackage (the raster's CRS).

    They are numbered from 1 in the order given and written as they come. The file
    appears when it is complete and has been read back; an empty one keeps its fields.

    Args:
        path: the output, ``.geojson`` or ``.gpkg``.
        footprints: in the order of their ids.
        crs: CRS of the footprints.
        overwrite: replace an existing output.
        style: stored in a GeoPackage as the default of its layer; GeoJSON has no place
            for one.

    Returns:
        How many were written.

    Raises:
        ParameterError: If the extension is unknown.
        RasterError: If there is no CRS.
        OutputExistsError: If the output exists and ``overwrite`` is False.
        OutputError: If it cannot be written or does not verify.
    """
    driver = check_format(path)
    if crs is None:
        raise RasterError(
            f"the raster has no CRS, expected one to place the footprints of "
            f"{path.name}; assign it with gdal_edit -a_srs or rio edit-info --crs"
        )
    to_wgs84 = None
    target = crs.to_wkt()
    if driver == "GeoJSON":
        to_wgs84 = Transformer.from_crs(target, "OGC:CRS84", always_xy=True)
        target = "EPSG:4326"
    expected = _Expected(driver, path.stem, target)
    with write_aside(path, verify=expected.verify, overwrite=overwrite) as temporary:
        try:
            with _create(temporary, driver, layer=path.stem, crs=target) as collection:
                for records in _records(footprints, to_wgs84, expected):
                    _store(collection, records)
        except (fiona.errors.FionaError, fiona._err.CPLE_BaseError) as error:
            raise OutputError(
                f"{path} could not be written ({error}); check the free space"
            ) from error
        if style is not None and driver == "GPKG":
            add_layer_style(temporary, path.stem, qml=style.qml, sld=style.sld)
    return expected.count


def _create(path: Path, driver: str, *, layer: str, crs: str) -> fiona.Collection:
    """Open a new file of footprints; ``crs`` is WKT for a GeoPackage."""
    return fiona.open(
        path,
        "w",
        driver=driver,
        layer=layer,
        schema=SCHEMA,
        crs_wkt=None if driver == "GeoJSON" else crs,
        crs=crs if driver == "GeoJSON" else None,
        **_OPTIONS[driver],
    )


def _store(collection: fiona.Collection, records: list[dict[str, Any]]) -> None:
    try:
        collection.writerecords(records)
    except RuntimeError as error:
        # Only here: the network runs in the same loop and has RuntimeErrors of its own.
        reason = str(error).split(":")[0]
        raise OutputError(
            f"{collection.name} could not be written ({reason}); check the free space"
        ) from error


class _Expected:
    """What the file must hold when it is read back."""

    def __init__(self, driver: str, layer: str, crs: str) -> None:
        self._driver = driver
        self._layer = layer
        self._crs = crs
        self.count = 0
        self._bounds = np.array([np.inf, np.inf, -np.inf, -np.inf])

    def note(self, geometries: npt.NDArray[np.object_]) -> None:
        """Count geometries on their way to the file."""
        self.count += len(geometries)
        if len(geometries):
            low, high = self._bounds[:2], self._bounds[2:]
            bounds = shapely.total_bounds(geometries)
            self._bounds = np.concatenate(
                (np.minimum(low, bounds[:2]), np.maximum(high, bounds[2:]))
            )

    def verify(self, path: Path) -> None:
        """Open the closed file and compare.

        Raises:
            OutputError: If it does not open, or holds something else.
        """
        try:
            with fiona.open(path, layer=self._layer) as collection:
                found = len(collection)
                crs = rasterio.crs.CRS.from_wkt(collection.crs_wkt)
                bounds = np.array(collection.bounds if found else (0, 0, 0, 0))
        except (fiona.errors.FionaError, ValueError) as error:
            raise OutputError(
                f"the footprints just written do not open ({error}); check the free "
                "space"
            ) from error
        same_crs = crs == rasterio.crs.CRS.from_user_input(self._crs)
        # The antimeridian splits polygons, which moves the bounds to ±180.
        spread = self._driver == "GeoJSON" and bounds[2] - bounds[0] > 180
        same_bounds = (
            self.count == 0 or spread or np.allclose(bounds, self._bounds, atol=1e-6)
        )
        if found != self.count or not same_crs or not same_bounds:
            raise OutputError(
                f"the footprints just written read back different: {found} of "
                f"{self.count} in {crs.to_string()[:40]}; check the free space"
            )


def _records(
    footprints: Iterable[Footprint],
    to_wgs84: Transformer | None,
    expected: _Expected,
) -> Iterator[list[dict[str, Any]]]:
    """Number footprints, reproject them a chunk at a time, make features of them."""
    stream = iter(footprints)
    while chunk := list(islice(stream, CHUNK)):
        geometries = np.array([it.geometry for it in chunk], dtype=object)
        if to_wgs84 is not None:
            geometries = shapely.transform(
                geometries,
                lambda points: np.round(
                    np.stack(to_wgs84.transform(points[:, 0], points[:, 1]), axis=1), 7
                ),
            )
        pieces, number = shapely.get_parts(_polygons(geometries), return_index=True)
        pieces = shapely.orient_polygons(pieces)  # exterior counter-clockwise
        first = expected.count + 1
        expected.note(pieces)
        yield [
            _record(first + i, piece, chunk[n])
            for i, (piece, n) in enumerate(zip(pieces, number.tolist(), strict=True))
        ]


def _polygons(geometries: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
    """Repair what rounding to a centimetre made invalid; keep polygons only."""
    bad = np.flatnonzero(~shapely.is_valid(geometries))
    for i in bad:
        parts = shapely.get_parts(shapely.make_valid(geometries[i]))
        flat = [p for part in parts for p in shapely.get_parts(part)]
        geometries[i] = shapely.multipolygons(
            [part for part in flat if part.geom_type == "Polygon"]
        )
    return geometries


def _record(
    number: int, geometry: shapely.Polygon, source: Footprint
) -> dict[str, Any]:
    return {
        "type": "Feature",
        "geometry": geometry.__geo_interface__,
        "properties": {
            "id": number,
            "class": source.class_name,
            "score": round(source.score, 4),
            "area_m2": round(source.area_m2, 2),
            "perimeter_m": round(source.perimeter_m, 2),
        },
    }
