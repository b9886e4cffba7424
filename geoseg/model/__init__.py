"""The model file: its contents, its inference, and the matching of its clusters."""
