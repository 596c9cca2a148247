"""Reference methods, one file each; see `psiflow_cli.protocols.Reference`."""
