"""ASE's units, for where there may be no ASE."""

BOHR = 0.5291772105638411  # Å: ase.units.Bohr
BAR = 6.241509125883258e-07  # eV/Å³: ase.units.bar
