"""Writing and reading of footprints as GeoParquet 1.1.

Specification: https://geoparquet.org/releases/v1.1.0/
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rasterio.crs
import shapely
from pyproj import CRS

from geoseg.core.errors import OutputError
from geoseg.geo.formats.attributes import ATTRIBUTES, ID
from geoseg.geo.formats.feature_chunks import Bounds, Chunk, Contents, union

if TYPE_CHECKING:
    import pyarrow

#: Approximate number of rows of a row group, which is held in memory, and which readers
#: of a region can skip.
GROUP = 50_000

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_GEOMETRY, _BOX = "geometry", "bbox"


@contextmanager
def open_parquet(
    path: Path, *, crs: rasterio.crs.CRS, tags: Mapping[str, str]
) -> Iterator[Callable[[Chunk], None]]:
    """Create a file and yield a function that writes chunks of footprints to it.

    Args:
        path: A new file.
        crs: CRS of the footprints.
        tags: Metadata.

    Raises:
        OSError: If it cannot be written.
    """
    import pyarrow.parquet  # an extra

    schema = _schema()
    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        rows = _Rows(writer, schema)
        yield rows.add
        rows.write()
        geo = _geo(crs, rows.bounds)
        described = {"geo": json.dumps(geo, sort_keys=True)}
        writer.add_key_value_metadata({**described, **tags})


class _Rows:
    """Rows collected until they fill a row group."""

    def __init__(
        self, writer: "pyarrow.parquet.ParquetWriter", schema: "pyarrow.Schema"
    ) -> None:
        self._writer = writer
        self._schema = schema
        self._waiting: list[pyarrow.RecordBatch] = []
        self.bounds: Bounds | None = None

    def add(self, chunk: Chunk) -> None:
        """Add a chunk of footprints; write a row group when it is full."""
        import pyarrow

        self.bounds = union(self.bounds, chunk.geometries)
        corners = shapely.bounds(chunk.geometries).T
        columns = {
            **chunk.columns,
            _BOX: pyarrow.StructArray.from_arrays(
                list(map(pyarrow.array, corners)), fields=list(_box())
            ),
            _GEOMETRY: shapely.to_wkb(chunk.geometries, byte_order=1, flavor="iso"),
        }
        self._waiting.append(
            pyarrow.RecordBatch.from_pydict(columns, schema=self._schema)
        )
        if sum(map(len, self._waiting)) >= GROUP:
            self.write()

    def write(self) -> None:
        """Write the collected rows as a row group."""
        import pyarrow

        if self._waiting:
            table = pyarrow.Table.from_batches(self._waiting)
            self._writer.write_table(table, row_group_size=len(table))
            self._waiting.clear()


def _schema() -> "pyarrow.Schema":
    import pyarrow

    kinds = {"str": pyarrow.string(), "float": pyarrow.float64()}
    fields = [
        (ID, pyarrow.int64()),
        *((attribute.name, kinds[attribute.kind]) for attribute in ATTRIBUTES),
        (_BOX, _box()),
        (_GEOMETRY, pyarrow.binary()),
    ]
    return pyarrow.schema(
        # a method without probabilities gives no score
        [pyarrow.field(name, kind, nullable=name == "score") for name, kind in fields]
    )


def _box() -> "pyarrow.StructType":
    import pyarrow

    return pyarrow.struct(
        [pyarrow.field(name, pyarrow.float64(), nullable=False) for name in _CORNERS]
    )


def _geo(crs: rasterio.crs.CRS, bounds: Bounds | None) -> dict[str, Any]:
    """Return the metadata of the geometry column by the specification."""
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": ["Polygon"],
        "crs": CRS.from_wkt(crs.to_wkt()).to_json_dict(),
        "orientation": "counterclockwise",
        "edges": "planar",
        "covering": {"bbox": {name: [_BOX, name] for name in _CORNERS}},
    }
    if bounds is not None:
        column["bbox"] = list(bounds)
    return {
        "version": "1.1.0",
        "primary_column": _GEOMETRY,
        "columns": {_GEOMETRY: column},
    }


def read_parquet(path: Path) -> Contents:
    """Return the summary of a file from its footer, which is written last.

    Raises:
        OutputError: If the file does not open.
    """
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            metadata, names = file.metadata, file.schema_arrow.names
            described = json.loads(metadata.metadata[b"geo"])["columns"][_GEOMETRY]
    except (pyarrow.ArrowException, OSError, KeyError, ValueError) as error:
        raise OutputError(
            f"the footprints just written do not open ({error}); check the free space"
        ) from error
    return Contents(
        metadata.num_rows,
        rasterio.crs.CRS.from_wkt(CRS.from_json_dict(described["crs"]).to_wkt()),
        _bounds_of_groups(metadata),
        tuple(name for name in names if name not in (_GEOMETRY, _BOX)),
    )


def _bounds_of_groups(metadata: "pyarrow.parquet.FileMetaData") -> Bounds | None:
    """Return the union of the row groups' bounds."""
    boxes = []
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        columns = (group.column(i) for i in range(group.num_columns))
        known = {column.path_in_schema: column.statistics for column in columns}
        xmin, ymin, xmax, ymax = (known[f"{_BOX}.{name}"] for name in _CORNERS)
        boxes.append(shapely.box(xmin.min, ymin.min, xmax.max, ymax.max))
    return union(None, boxes)
