"""References: networks that learn from labels."""
