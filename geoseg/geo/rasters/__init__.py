"""Opening, describing and reading of rasters."""
