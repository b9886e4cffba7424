"""Vector files of labels with several layers, as QGIS writes them."""

from pathlib import Path

import fiona
import shapely

UTM = "EPSG:32611"


def write_layer(path, layer, shapes, *, crs=UTM, **columns):
    """Write, or add, a layer of shapes with an attribute for each column; return path."""
    kinds = {shape.geom_type for shape in shapes}
    types = {name: "int" if _whole(v) else "str" for name, v in columns.items()}
    schema = {
        "geometry": kinds.pop() if len(kinds) == 1 else "Unknown",
        "properties": types,
    }
    options = {"layer": layer} if Path(path).suffix == ".gpkg" else {}
    driver = "GPKG" if options else "GeoJSON"
    with fiona.open(
        path, "w", driver=driver, crs=crs, schema=schema, **options
    ) as sink:
        for number, shape in enumerate(shapes):
            properties = {name: values[number] for name, values in columns.items()}
            sink.write(
                {"geometry": shapely.geometry.mapping(shape), "properties": properties}
            )
    return str(path)


def _whole(values):
    return all(isinstance(value, int) for value in values)
