"""Where the run directories are, told by the names of files; where there are none, nothing more is imported."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_SKIPPED = {".git", "node_modules", "__pycache__"}


def find(places: Iterable[str | Path]) -> Iterator[Path]:
    """Every run directory at or below these places; nothing inside one is looked at."""
    for place in places:
        for folder, below, files in os.walk(place):
            if _is_run(folder, files):
                from pathlib import Path

                below.clear()
                yield Path(folder)
            else:
                below[:] = sorted(b for b in below if b not in _SKIPPED and not b.startswith(".venv"))


def _is_run(folder: str, files: list[str]) -> bool:
    if {"run.json", "journal.jsonl"} <= {*files}:
        return True
    if not any(name == "lock" or name.endswith(".json") for name in files):
        return False
    from pathlib import Path

    from psiflow_cli.remote import record
    from psiflow_cli.runtime import lock
    from psiflow_cli.runtime.stop import request as stop_request

    # a first command that has not begun yet reading its inputs, and holds the lock
    prepares = "lock" in files and stop_request.FILE in files and lock.is_held(Path(folder, "lock"))
    return prepares or record.FILE in files
