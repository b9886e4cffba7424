"""Safe access to input files: formats, networks, VRTs, sidecar files, text files."""
