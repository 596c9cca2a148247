"""How tasks are run, one file per kind of Parsl executor."""
