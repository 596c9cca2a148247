"""`rattle`, `label`, `atomic-energies`, `check`, `split`, `select`: frames from frames. No model is trained here."""
