"""psiflow: the loop that makes machine-learned interatomic potentials, as single-purpose commands."""

__version__ = "0.1.0"
