"""Writing and verifying of footprint files and class rasters."""
