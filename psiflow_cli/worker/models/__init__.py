"""Models on a worker: loading, predicting, describing, committees. No training, and nothing of one family."""
