"""Engines for molecular dynamics, one file each; see `psiflow_cli.protocols.Sampler`."""
