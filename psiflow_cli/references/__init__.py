"""Reference methods, one file or folder each; see `psiflow_cli.protocols.Reference`. No Parsl, no command."""
