"""Files of footprints and classes: written, and read back."""
