"""What files of footprints say of their making."""

from pathlib import Path

import fiona

from geoseg.geo.sources.vector_files import open_vectors

#: Formats with a place for it; GeoParquet is read without GDAL.
_TAGGED = (".gpkg", ".fgb")
_PARQUET = (".parquet", ".geoparquet")


def read_provenance(path: Path) -> dict[str, str]:
    """Return the tags that geoseg wrote into a file of footprints.

    GeoJSON has no place for any. A file that does not open says nothing here either:
    whoever reads its footprints says why.
    """
    suffix = path.suffix.lower()
    try:
        if suffix in _PARQUET:
            found = _parquet_tags(path)
        elif suffix in _TAGGED:
            with open_vectors(path) as collection:
                found = collection.tags()
        else:
            return {}
    except (fiona.errors.FionaError, OSError, ImportError, ValueError):
        return {}
    return {name: text for name, text in found.items() if name.startswith("GEOSEG_")}


def _parquet_tags(path: Path) -> dict[str, str]:
    import pyarrow.parquet  # an extra; its errors are ValueError and OSError

    found = pyarrow.parquet.read_metadata(path).metadata or {}
    return {name.decode(): text.decode() for name, text in found.items()}
