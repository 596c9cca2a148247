"""`site check` and `env`: whether workers can run, and their environments. Nothing of the science."""
