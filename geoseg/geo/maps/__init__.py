"""Maps: from images to files, journal and mosaic included."""
