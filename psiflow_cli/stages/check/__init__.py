"""`check`: one file per kind of finding, and the stage that collects them. Nothing that changes a frame."""
