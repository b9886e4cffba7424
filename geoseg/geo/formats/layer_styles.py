"""Styles inside a GeoPackage: the table ``layer_styles`` that QGIS reads."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from geoseg.core.errors import OutputError, remedy

TABLE = "layer_styles"
#: Date of every last change, so that equal footprints make equal files.
DATE = "1970-01-01T00:00:00.000Z"

# columns as QGIS creates them
_CREATE = """
CREATE TABLE layer_styles (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    f_table_catalog TEXT(256),
    f_table_schema TEXT(256),
    f_table_name TEXT(256),
    f_geometry_column TEXT(256),
    styleName TEXT(30),
    styleQML TEXT,
    styleSLD TEXT,
    useAsDefault BOOLEAN,
    description TEXT,
    owner TEXT(30),
    ui TEXT(30),
    update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now'))
)
"""
_REGISTER = """
INSERT INTO gpkg_contents
    (table_name, data_type, identifier, description, last_change)
VALUES ('layer_styles', 'attributes', 'layer_styles', 'Styles for QGIS', ?)
"""
# QGIS compares catalog and schema with empty strings, which NULL would never match
_INSERT = """
INSERT INTO layer_styles (
    f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName,
    styleQML, styleSLD, useAsDefault, description, owner, update_time
)
SELECT
    '', '', table_name, column_name, 'geoseg', ?, ?, 1, 'Written by geoseg', '', ?
FROM gpkg_geometry_columns WHERE table_name = ?
"""


def add_layer_style(path: Path, layer: str, *, qml: str, sld: str) -> None:
    """Store the default style of a layer in a GeoPackage.

    Args:
        path: A closed GeoPackage without styles.
        layer: Name of a layer with geometries.
        qml: The style for QGIS.
        sld: The style for other programs.

    Raises:
        OutputError: If the file cannot be written.
    """
    try:
        with closing(sqlite3.connect(path)) as database, database:
            database.execute(_CREATE)
            database.execute(_REGISTER, (DATE,))
            database.execute(_INSERT, (qml, sld, DATE, layer))
    except sqlite3.Error as error:
        raise OutputError(
            f"the style of {layer} could not be written ({error}); {remedy(error)}"
        ) from error


class LayerStyle(NamedTuple):
    """The default style of the footprints in a GeoPackage.

    Attributes:
        qml: The style for QGIS.
        sld: The style for other programs.
    """

    qml: str
    sld: str
