"""Where the run directories are, told by the names of their files: `status` needs no more where there are none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from psiflow_cli.remote import record
from psiflow_cli.runtime.stop import request as stop_request

_SKIPPED = {".git", "node_modules", "__pycache__"}


def find(places: list[Path]) -> Iterator[Path]:
    """Every run directory at or below these places; nothing inside one is looked at."""
    for place in places:
        for folder, below, files in os.walk(place):
            # a first command that has not begun yet reading its inputs, and holds the lock
            prepares = "lock" in files and stop_request.FILE in files and _is_held(Path(folder, "lock"))
            if {"run.json", "journal.jsonl"} <= {*files} or record.FILE in files or prepares:
                below.clear()
                yield Path(folder)
            else:
                below[:] = sorted(b for b in below if b not in _SKIPPED and not b.startswith(".venv"))


def _is_held(path: Path) -> bool:
    from psiflow_cli.runtime import lock

    return lock.is_held(path)
