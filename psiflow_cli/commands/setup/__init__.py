"""`site` and `env`: where and in what environments the other commands run. Nothing of the science."""
