"""The tiles of a run, and the role of each."""
