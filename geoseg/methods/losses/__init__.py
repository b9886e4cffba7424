"""Loss functions, each a pure function with its paper."""
