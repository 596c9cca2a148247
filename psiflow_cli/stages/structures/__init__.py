"""`rattle`, `relax`, `phonons`: structures from structures. No dynamics; see `stages/sample/`."""
