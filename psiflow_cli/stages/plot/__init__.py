"""Figures from files: what is drawn, and of what; the drawing itself is in `worker/plots/`."""
