"""The logs of a run in few files: file systems of clusters count files. Nothing that decides what a run does."""
