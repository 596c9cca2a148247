"""The command's request to a training to stop at once, by a file in its folder.

The file is made, empty, before the training begins, and opened again at every look: on NFS a file that is there is seen
again whenever it is opened, while one that appears may be missed for a minute.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

_FILE = "stop"


def prepare(folder: Path) -> None:
    """Be ready for a request; an earlier one is taken back."""
    (folder / _FILE).write_text("")


def ask(folder: Path) -> None:
    """Ask the training in this folder to stop, and to deliver the best model so far."""
    (folder / _FILE).write_text("stop")


def is_there(folder: Path) -> bool:
    """Whether the training in this folder is to stop."""
    with contextlib.suppress(OSError):
        return bool((folder / _FILE).read_text())
    return False
