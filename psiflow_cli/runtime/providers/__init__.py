"""Where resources come from, one file per kind of provider."""
