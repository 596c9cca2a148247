"""Free energies: which files, windows and units; the numbers are computed on a worker."""
