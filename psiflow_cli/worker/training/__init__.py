"""Training on a worker: its time, the trainer's process, the end of it, its growing log. Nothing of one family."""
