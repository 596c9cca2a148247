"""A short folder for the sockets of a worker pool, whose paths may have 107 bytes only, and for its logs.

The tasks get the user's own $TMPDIR back.
"""

from __future__ import annotations

import contextlib
import multiprocessing.process
import os
import shutil
import tempfile

from psiflow_cli.worker.pool import temporary_folders

_USERS_OWN = "PSIFLOW_USERS_TMPDIR"
"""Names the user's own $TMPDIR to the workers; empty if there was none."""
_SHORT = ("/tmp", "/var/tmp", "/dev/shm")


def make(env: dict[str, str]) -> str:
    """Make the folder and name it in the environment of a pool; "" where none can be made, and nothing is changed."""
    for place in _SHORT:
        with contextlib.suppress(OSError):
            folder = temporary_folders.make("psiflow-pool", place)
            env.update({_USERS_OWN: env.get("TMPDIR", ""), "TMPDIR": folder})
            return folder
    return ""


def remove(folder: str) -> None:
    """Remove what `make` has made."""
    if folder:
        shutil.rmtree(folder, ignore_errors=True)


def give_back() -> None:
    """In a worker: what it does for a task, and the programs that it starts, see the user's own $TMPDIR."""
    users = os.environ.pop(_USERS_OWN, None)
    if users is None:
        return
    short = os.environ.pop("TMPDIR")
    # sockets that a task makes are short, too
    vars(multiprocessing.process.current_process()).get("_config", {}).setdefault("tempdir", short)
    if users:
        os.environ["TMPDIR"] = users
    tempfile.tempdir = None  # where it has looked before
