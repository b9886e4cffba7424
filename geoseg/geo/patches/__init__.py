"""Patches for the training, and statistics of the tiles."""
