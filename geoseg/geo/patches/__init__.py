"""Patches for training, and statistics of the tiles."""
