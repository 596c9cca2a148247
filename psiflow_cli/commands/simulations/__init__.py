"""`sample`, `relax`, `phonons`: what atoms do with a model. Nothing that makes a model or a label."""
