"""Tiles: discovery, download, layouts and roles."""
