"""Right-angled footprints, drawn where the pixels support them."""
