"""Structure and dynamics of trajectories: reading them into tables of numbers, and what is written of the result."""
