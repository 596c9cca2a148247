"""Site files: how and where stages run, kept apart from the science."""
