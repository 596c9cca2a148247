"""End this process when its task hangs, also inside compiled code that never lets Python run.

The interpreter's own watchdog thread (`faulthandler`) needs no turn of Python's: when time is up it writes where every
thread stands and ends the process. The file that it wrote tells the command a hang from another death.

The file is open for as long as the task runs. In a supervised worker pool it lies on the node itself, and reaches the
run's folder only after a hang: a shared file system need not make and remove a file for every task.
"""

from __future__ import annotations

import contextlib
import faulthandler
import glob
import os
import shutil
import time
from collections.abc import Iterator
from typing import TextIO

GRACE_S = 5.0
"""What a task may take beyond its walltime, to end its programs and say so itself."""
FOLDER = "PSIFLOW_HANG_LOGS"
"""Names to a pool's workers the folder of this host that its supervisor looks into."""
_SUFFIX = ".hang"
DELIVERY_S = 2.0
"""So long may a log take from the node to the run's folder: a supervisor looks twice a second."""
_watched: list[tuple[TextIO, float]] = []


@contextlib.contextmanager
def limit(seconds: float | None, log: str) -> Iterator[None]:
    """End this process if the block takes longer; `log` is there while it runs, and stays with a traceback if it ends.

    Without a number of seconds or a log there is no limit.
    """
    if not seconds or not log:
        yield
        return
    with _opened(log) as stream:
        _watched.append((stream, seconds + GRACE_S))
        extend(0.0)
        try:
            yield
        finally:
            _watched.pop()
            faulthandler.cancel_dump_traceback_later()
    with contextlib.suppress(FileNotFoundError):
        os.unlink(stream.name)


def _opened(log: str) -> TextIO:
    with contextlib.suppress(KeyError, OSError):  # such as a folder that was swept away
        return open(os.path.join(os.environ[FOLDER], os.path.basename(log)), "w")
    return open(log, "w")


def extend(seconds: float | None) -> None:
    """Begin to count again, for a program that has a limit of so many seconds of its own."""
    if _watched and seconds is not None:
        stream, limit = _watched[-1]
        faulthandler.dump_traceback_later(max(limit, seconds + GRACE_S), exit=True, file=stream)


def deliver(own_folder: str, folder: str) -> None:
    """*supervisor*: copy the logs of hangs from this host's folder to the run's."""
    for path in glob.glob(os.path.join(glob.escape(own_folder), f"*{_SUFFIX}")):
        file = os.path.join(folder, os.path.basename(path))
        with contextlib.suppress(OSError):
            size = os.path.getsize(path)
            if size and not (os.path.exists(file) and os.path.getsize(file) == size):
                shutil.copyfile(path, f"{file}.part")
                os.replace(f"{file}.part", file)


def found_hanging(log: str, wait_until: float = 0.0) -> bool:
    """Whether the task that had this log was ended by its watchdog; an empty log is removed.

    The log is waited for until a time of the monotonic clock.
    """
    while log and not os.path.exists(log) and time.monotonic() < wait_until:
        time.sleep(0.05)
    with contextlib.suppress(OSError):
        if os.path.getsize(log):
            return True
        os.unlink(log)
    return False
