"""Reference labels: vectors and masks, read as class ids on the grid of an image."""
