"""Engines for molecular dynamics: `ase` moves one walker after another, `torchsim` many at once, `ipi` path integrals.

See `psiflow_cli.protocols.Sampler`. What they share is in `worker/md/`; nothing of one command.
"""
