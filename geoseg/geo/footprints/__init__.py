"""Building polygons from class rasters."""
