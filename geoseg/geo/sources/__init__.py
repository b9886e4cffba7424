"""What may be read, and how: formats, networks, VRTs, sidecars, texts."""
