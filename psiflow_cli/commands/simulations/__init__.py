"""`sample`, `relax`, `phonons`, `analyse`, `free-energy`: what atoms do. Nothing that makes a model or a label."""
