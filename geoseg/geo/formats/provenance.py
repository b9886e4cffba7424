"""Reading of the provenance tags of footprint files."""

from pathlib import Path

import fiona

from geoseg.geo.sources.vector_files import open_vectors

#: Formats with a place for tags; GeoParquet is read without GDAL.
_TAGGED = (".gpkg", ".fgb")
_PARQUET = (".parquet", ".geoparquet")


def read_provenance(path: Path) -> dict[str, str]:
    """Return the tags that geoseg wrote into a footprint file.

    They are empty for GeoJSON, which has no place for tags, and for a file that does
    not open: reading its footprints raises the error.
    """
    suffix = path.suffix.lower()
    try:
        if suffix in _PARQUET:
            tags = _parquet_tags(path)
        elif suffix in _TAGGED:
            with open_vectors(path) as collection:
                tags = collection.tags()
        else:
            return {}
    except (fiona.errors.FionaError, OSError, ImportError, ValueError):
        return {}
    return {name: text for name, text in tags.items() if name.startswith("GEOSEG_")}


def _parquet_tags(path: Path) -> dict[str, str]:
    import pyarrow.parquet  # an extra; its errors are ValueError and OSError

    tags = pyarrow.parquet.read_metadata(path).metadata or {}
    return {name.decode(): text.decode() for name, text in tags.items()}
