"""K-means over pixels, and the pseudo-labels that it gives."""
