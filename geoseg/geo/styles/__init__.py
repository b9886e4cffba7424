"""Map styles for QGIS and other GIS."""
