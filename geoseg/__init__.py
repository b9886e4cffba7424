"""geoseg maps buildings in overhead imagery without training labels."""

__version__ = "0.1.0"
