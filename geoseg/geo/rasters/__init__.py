"""Rasters: opened, described, and read by window."""
