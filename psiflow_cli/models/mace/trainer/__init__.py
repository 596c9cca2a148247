"""The process that trains with MACE's own `run_train`: its checkpoints and stages. Nothing that runs elsewhere."""
