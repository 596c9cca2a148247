"""The tracebacks of tasks, all in one file of the run's logs."""

from __future__ import annotations

import contextlib
from pathlib import Path


def add(folder: Path, traceback: str) -> str:
    """The file of a run to which the traceback of a task was added; "" where there is none."""
    if not traceback:
        return ""
    path = folder / "logs" / "tracebacks.log"
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{traceback.rstrip()}\n\n")
    return str(path)
