"""Prediction over rasters of any size: windows, stitching, blocks, processes."""
