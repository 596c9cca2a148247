"""Energy, forces and stress of a frame: read under their usual names, and told under others. Nothing of a structure."""
