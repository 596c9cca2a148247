"""Potentials that psiflow runs and does not train, one file each; see `protocols.Potential`. No Parsl, no command."""
