"""Run a command on CPUs that no other task of this worker has: `python cpu_slot.py CORES COMMAND [ARGUMENT ...]`.

Work Queue counts cores, but binds nothing to them. Each block of cores has a file beside the tasks' folders, and who
holds its lock has the cores; the lock goes with the process, whatever ends it.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import sys
import time

_PR_SET_PDEATHSIG = 1
_PATIENCE_S = 5.0
"""A task may start a moment before the one whose cores it gets has let them go."""


def main(argv: list[str]) -> None:
    """Become the command."""
    if sys.platform == "linux":  # Work Queue's worker may be killed: its tasks must not live on
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if hasattr(os, "sched_setaffinity"):
        _take(int(argv[1]))
    os.execvp(argv[2], argv[2:])


def _take(cores: int) -> None:
    """Bind this process to the first free block of cores; to none if there is none."""
    allowed = sorted(os.sched_getaffinity(0))
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        for place in range(len(allowed) // cores):
            file = os.open(f"../psiflow-cores-{place}", os.O_CREAT | os.O_RDWR, 0o600)
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.set_inheritable(file, True)
                os.sched_setaffinity(0, allowed[place * cores : (place + 1) * cores])
                return
            os.close(file)
        time.sleep(0.05)


if __name__ == "__main__":
    main(sys.argv)
