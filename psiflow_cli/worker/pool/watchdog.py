"""End this process when its task hangs, also inside compiled code that never lets Python run.

The interpreter's own watchdog thread (`faulthandler`) needs no turn of Python's: when time is up it writes where every
thread stands and ends the process. The file that it wrote tells the command a hang from another death.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
from collections.abc import Iterator
from typing import TextIO

GRACE_S = 5.0
"""What a task may take beyond its walltime, to end its programs and say so itself."""
_watched: list[tuple[TextIO, float]] = []


@contextlib.contextmanager
def limit(seconds: float | None, log: str) -> Iterator[None]:
    """End this process if the block takes longer; `log` is there while it runs, and stays with a traceback if it ends.

    Without a number of seconds or a log there is no limit.
    """
    if not seconds or not log:
        yield
        return
    with open(log, "w") as stream:
        _watched.append((stream, seconds + GRACE_S))
        extend(0.0)
        try:
            yield
        finally:
            _watched.pop()
            faulthandler.cancel_dump_traceback_later()
    os.unlink(log)


def extend(seconds: float | None) -> None:
    """Begin to count again, for a program that has a limit of so many seconds of its own."""
    if _watched and seconds is not None:
        stream, limit = _watched[-1]
        faulthandler.dump_traceback_later(max(limit, seconds + GRACE_S), exit=True, file=stream)


def found_hanging(log: str) -> bool:
    """Whether the task that had this log was ended by its watchdog; an empty log is removed."""
    with contextlib.suppress(OSError):
        if os.path.getsize(log):
            return True
        os.unlink(log)
    return False
