"""What everybody uses: nothing of the Earth, no run, no model."""
