"""Model families, one file each; see `psiflow_cli.protocols.Model`."""
