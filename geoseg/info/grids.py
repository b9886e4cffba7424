"""Describe the grids of images as text."""

from collections.abc import Sequence

from geoseg.core.words import counted
from geoseg.geo.rasters.description import RasterDescription


def band_words(grid: RasterDescription) -> str:
    """Return the number of bands and their names."""
    return f"{counted(grid.count, 'band')}: {' '.join(grid.band_names)}"


def crs_words(grid: RasterDescription) -> str:
    """Return the CRS, or other georeference if there is none."""
    if grid.crs is not None:
        return str(grid.crs.to_string())
    located = {
        "gcps": "; has ground control points",
        "rpcs": "; has RPCs",
        "crs": "; has a CRS without a geotransform",
    }
    return "none" + located.get(grid.located_by, "")


def size_words(size: float | None) -> str:
    """Return the side of a pixel in metres as text."""
    return f"{size:.3g} m a side" if size else "of unknown size"


def span(values: Sequence[int]) -> str:
    """Return the range of whole numbers as text."""
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low}–{high}"


def span_m(sizes: Sequence[float]) -> str:
    """Return the range of pixel sides in metres as text."""
    if not sizes:
        return "of unknown size"
    low, high = f"{min(sizes):.3g}", f"{max(sizes):.3g}"
    return f"{low} m a side" if low == high else f"{low} to {high} m a side"
