"""Footprints drawn again with right angles, where the pixels support them."""
