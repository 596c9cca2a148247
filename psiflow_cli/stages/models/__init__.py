"""`model show`, `verify`, `export`, `compile`: finished bundles. No training; see `stages/train/`."""
