"""How potentials are made to look like each other: as ASE calculators, as models of torch-sim. No family's own code."""
