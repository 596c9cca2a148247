"""PLUMED for all engines: one instance per walker, its input, its files, and what of them a checkpoint holds."""
