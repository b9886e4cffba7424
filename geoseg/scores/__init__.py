"""Scores of maps: from counts to numbers and tables. No raster, no model."""
