"""Styles of maps for QGIS and others."""
