"""What a run shows: figures as files, and one self-contained page."""
