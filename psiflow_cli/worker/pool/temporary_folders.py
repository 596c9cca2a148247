"""Temporary folders with the owner in their names, so that those which killed processes have left can be removed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile

from psiflow_cli.worker.pool import process_table

_cleaned: set[str] = set()
"""Where this process has looked for abandoned folders: such a place may have many entries."""


def make(prefix: str, place: str) -> str:
    """Make a folder of this process in `place` and return its path. Raises OSError.

    Before the first one, remove abandoned folders there.
    """
    _clean_once(place)
    return tempfile.mkdtemp(prefix=owned(prefix), dir=place)


def temporary(prefix: str, place: str = "") -> tempfile.TemporaryDirectory[str]:
    """The same as a context manager, in `place` or $TMPDIR. Raises OSError."""
    place = place or tempfile.gettempdir()
    _clean_once(place)
    return tempfile.TemporaryDirectory(prefix=owned(prefix), dir=place)


def _clean_once(place: str) -> None:
    if place not in _cleaned:
        _cleaned.add(place)
        remove_abandoned(place)


def owned(prefix: str) -> str:
    """The beginning of the name of a temporary folder that belongs to this process."""
    pid = os.getpid()
    return f"{prefix}-{_host()}-{pid}-{process_table.start_time(pid)}-"


def remove_abandoned(place: str) -> None:
    """Remove the folders in `place` whose owners were processes of this host and have ended."""
    owned = re.compile(rf".+-{_host()}-(\d+)-(\w+)-[^-]+")
    with contextlib.suppress(OSError):  # a place that does not exist, or is not ours to read
        for name in os.listdir(place):
            match = owned.fullmatch(name)
            if match and process_table.start_time(int(match[1])) != match[2]:
                shutil.rmtree(os.path.join(place, name), ignore_errors=True)


def _host() -> str:
    """A short form of this host: several may share the place."""
    return hashlib.sha256(process_table.host().encode()).hexdigest()[:8]
