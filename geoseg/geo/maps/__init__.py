"""Mapping of images to files of footprints and rasters, with journal and mosaic."""
