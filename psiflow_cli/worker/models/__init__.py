"""Models on a worker: loading, predicting, training, committees. Nothing of one family; see `models/`."""
