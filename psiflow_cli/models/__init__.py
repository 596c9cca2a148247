"""Model families, one file each; see `psiflow_cli.seams.Model`."""
