"""Reference methods, one file each; see `psiflow_cli.seams.Reference`."""
