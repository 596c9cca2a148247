"""The fastest way to compute a model on this machine: kernels, and what was compiled here. Nothing of one family."""
