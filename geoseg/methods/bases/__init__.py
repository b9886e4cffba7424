"""What methods are made from: base classes for the families of methods."""
