"""Model families, one file or folder each; see `psiflow_cli.protocols.Model`. No Parsl, no command."""
