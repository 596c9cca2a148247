"""Free energies from samples and from hills: grids, MBAR, reweighting. No reading of the user's files."""
