"""Structure and dynamics of trajectories by NumPy, SciPy and ASE's neighbour lists; nothing of a model."""
