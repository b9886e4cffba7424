"""Everything that touches the Earth: rasters, vectors, coordinates."""
