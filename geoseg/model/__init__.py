"""The model file: what it holds, how it is asked, and what its clusters mean."""
