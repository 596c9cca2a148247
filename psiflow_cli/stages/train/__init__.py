"""`train`: data, committee and bundle of a training. Nothing of one model family; see `models/`."""
