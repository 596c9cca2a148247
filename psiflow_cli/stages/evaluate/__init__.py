"""`evaluate` and `compare`: errors of predictions against labels. No model is loaded here."""
