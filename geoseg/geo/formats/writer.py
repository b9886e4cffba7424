"""Writing of footprints to a file in any supported format."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

import numpy as np
import rasterio.crs
from shapely import Polygon

from geoseg.core.errors import OutputError, RasterError
from geoseg.core.outputs import write_aside
from geoseg.geo.coordinates.crs import WGS84, crs_name, same_crs
from geoseg.geo.coordinates.georeference import locate
from geoseg.geo.footprints.vectorize import Footprint
from geoseg.geo.formats.attributes import ATTRIBUTES, ID
from geoseg.geo.formats.feature_chunks import (
    Bounds,
    Chunk,
    Contents,
    chunks,
    to_longitude_latitude,
    union,
)
from geoseg.geo.formats.fiona_files import open_features, read_features
from geoseg.geo.formats.formats import Format, check_format
from geoseg.geo.formats.layer_styles import LayerStyle, add_layer_style
from geoseg.geo.formats.parquet_files import open_parquet, read_parquet
from geoseg.geo.rasters.description import RasterDescription


def write_footprints(
    path: Path,
    footprints: Iterable[Footprint],
    *,
    crs: rasterio.crs.CRS | None,
    overwrite: bool = False,
    style: LayerStyle | None = None,
    tags: Mapping[str, str] = MappingProxyType({}),
) -> int:
    """Write footprints in the format of the file's extension.

    They are numbered from 1 in the given order and written in a stream. The file
    appears when it is complete and has been read back. An empty file has fields,
    geometry type and CRS if the format has a place for them.

    Args:
        path: the output; :data:`geoseg.geo.formats.formats.FORMATS` lists the extensions.
        footprints: in the order of their ids.
        crs: CRS of the footprints.
        overwrite: replace an existing output.
        style: default style of the layer in a GeoPackage; other formats have no place
            for it.
        tags: metadata of the file, if the format has a place for them.

    Returns:
        Number of footprints written.

    Raises:
        ParameterError: If the extension is unknown, or pyarrow is missing.
        RasterError: If there is no CRS.
        OutputExistsError: If the output exists and ``overwrite`` is False.
        OutputError: If it cannot be written or does not verify.
    """
    how = check_format(path)
    if crs is None:
        raise RasterError(
            f"the raster has no CRS, expected one to place the footprints of "
            f"{path.name}; assign it with gdal_edit -a_srs or rio edit-info --crs"
        )
    place = to_longitude_latitude(crs) if how.longitude_latitude else np.copy
    target = WGS84 if how.longitude_latitude else crs
    written = _Written(how, target)
    with write_aside(path, verify=written.verify, overwrite=overwrite) as temporary:
        opened = _open(temporary, how, layer=path.stem, crs=target, tags=tags)
        with opened as store:
            for chunk in chunks(footprints, place):
                written.note(chunk)
                store(chunk)
        if style is not None and how.style_inside:
            add_layer_style(temporary, path.stem, qml=style.qml, sld=style.sld)
    return written.count


def try_writing(
    path: Path, grid: RasterDescription, *, tags: Mapping[str, str]
) -> None:
    """Write a footprint of an image to a temporary file and read it back.

    So a format that cannot hold the image's CRS is reported before hours of predicting.

    Args:
        path: The later output; it is not touched.
        grid: An image with a CRS.
        tags: Tags of the output.

    Raises:
        RasterError: If the format requires longitude and latitude, and there are none.
        OutputError: If the footprint cannot be written or does not read back.
    """
    width, height = grid.width / 2, grid.height / 2
    corners = [(0.5, 0.5), (1.5, 0.5), (1.5, 1.5), (0.5, 1.5)]
    outline = [locate(grid.transform, x * width, y * height) for x, y in corners]
    footprint = Footprint(Polygon(outline), 1, "building", 0.5, 1.0, 1.0, 0.0)
    with TemporaryDirectory(prefix="geoseg-") as folder:
        trial = Path(folder, path.name)
        write_footprints(trial, [footprint], crs=grid.crs, tags=tags)


def _open(
    path: Path,
    how: Format,
    *,
    layer: str,
    crs: rasterio.crs.CRS,
    tags: Mapping[str, str],
) -> AbstractContextManager[Callable[[Chunk], None]]:
    if how.driver is None:
        return open_parquet(path, crs=crs, tags=tags)
    return open_features(path, how, layer=layer, crs=crs, tags=tags)


class _Written:
    """Count and bounds of the footprints written, for comparison with the file."""

    def __init__(self, how: Format, crs: rasterio.crs.CRS) -> None:
        self._how = how
        self._crs = crs
        self._bounds: Bounds | None = None
        self.count = 0

    def note(self, chunk: Chunk) -> None:
        """Add a chunk to the count and the bounds."""
        self.count += len(chunk.geometries)
        self._bounds = union(self._bounds, chunk.geometries)

    def verify(self, path: Path) -> None:
        """Raise if the closed file differs from what was written.

        Raises:
            OutputError: If it does not open, or has other contents.
        """
        contents = self._read(path)
        fields = (ID, *(attribute.name for attribute in ATTRIBUTES))
        same_fields = contents.fields == fields or self._has_no_schema
        if not same_crs(contents.crs, self._crs):
            raise OutputError(
                f"{self._how.name} does not hold CRS {crs_name(self._crs)}: what was "
                f"written reads back in {crs_name(contents.crs)}; take .geojson, or "
                "warp the image first with gdalwarp -t_srs EPSG:… FILE OUTPUT"
            )
        if (
            contents.count != self.count
            or not same_fields
            or not _agree(contents.bounds, self._bounds)
        ):
            raise OutputError(
                f"the footprints just written read back different: {contents.count} of "
                f"{self.count}; check the free space"
            )

    def _read(self, path: Path) -> Contents:
        if self._how.driver is None:
            return read_parquet(path)
        if self._has_no_schema and not path.stat().st_size:
            # GDAL cannot open an empty file
            return Contents(0, self._crs, None, ())
        return read_features(path)

    @property
    def _has_no_schema(self) -> bool:
        return not self.count and not self._how.describes_itself


def _agree(bounds: Bounds | None, expected: Bounds | None) -> bool:
    if bounds is None or expected is None:
        return bounds == expected
    return np.allclose(bounds, expected, atol=1e-6)
