"""`site`, `env`, `completion`, `help`: where the other commands run, and how to use them. Nothing of the science."""
