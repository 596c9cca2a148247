"""Site files: how and where stages run, and which workers' environments there are. Nothing of the science."""
