"""Tiles: which there are, how they lie, and their roles."""
