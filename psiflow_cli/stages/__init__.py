"""One file per stage: what a command does; no click and no Parsl here."""
