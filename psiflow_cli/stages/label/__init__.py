"""`label`, `atomic-energies`: labels from a reference method. Nothing of one code; see `references/`."""
