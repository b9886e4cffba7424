"""Coordinates: reference systems, the ellipsoid, and grids of pixels."""
