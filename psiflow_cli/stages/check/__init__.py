"""`check`: one file or folder per kind of finding, and the stage that collects them. Nothing that changes a frame."""
