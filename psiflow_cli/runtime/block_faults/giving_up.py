"""The words with which a run is given up for want of resources."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from psiflow_cli.errors import NoResources

_NO_ROOM = 1 << 16  # bytes; with less, logs cannot be written


def no_resources(folder: Path, message: str, hint: str) -> Exception:
    """NoResources; or, where the disk of the run directory is full, which keeps workers from starting, that."""
    disk = os.statvfs(folder)
    if disk.f_bavail * disk.f_frsize < _NO_ROOM:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
    return NoResources(message, hint)


def because(text: str) -> str:
    """The reason behind a sentence, or nothing."""
    return f": {text}" if text else ""
