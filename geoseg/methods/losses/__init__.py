"""Loss functions, each with its reference."""
