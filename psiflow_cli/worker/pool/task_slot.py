"""Run a command on CPUs and GPUs that no other task of this worker has.

    python task_slot.py CORES COMMAND [ARGUMENT ...]      CORES = 0: bind to no CPUs

Work Queue counts cores, but binds nothing to them, and numbers GPUs from 0 whatever its block has got. Each block of
cores and each slot of GPUs has a file beside the tasks' folders, and who holds its lock has it; the lock goes with the
process, whatever ends it.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import sys
import time

if __name__ == "__main__":  # run by its path, where psiflow may be found only in the command's own environment
    sys.path.append(os.path.abspath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 3)))

from psiflow_cli.worker.pool import gpu_slots

_PR_SET_PDEATHSIG = 1
_PATIENCE_S = 5.0
"""A task may start a moment before the one whose cores it gets has let them go."""


def main(argv: list[str]) -> None:
    """Become the command."""
    if sys.platform == "linux":  # Work Queue's worker may be killed: its tasks must not live on
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if cores := int(argv[1]):
        allowed = sorted(os.sched_getaffinity(0))
        place = _take("cores", len(allowed) // cores, _PATIENCE_S)
        if place is not None:  # else it is bound to none
            os.sched_setaffinity(0, allowed[place * cores : (place + 1) * cores])
    if gpus := gpu_slots.slots(os.environ):
        slot = _take("gpus", len(gpus), float("inf"))  # a node may have fewer than the site says
        assert slot is not None
        gpu_slots.take(slot, os.environ)
    os.execvp(argv[2], argv[2:])


def _take(resource: str, places: int, patience: float) -> int | None:
    """The first free one of so many places, which this process then has; None if there is none in time."""
    deadline = time.monotonic() + patience
    while places and time.monotonic() < deadline:
        for place in range(places):
            file = os.open(f"../psiflow-{resource}-{place}", os.O_CREAT | os.O_RDWR, 0o600)
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.set_inheritable(file, True)
                return place
            os.close(file)
        time.sleep(0.05)
    return None


if __name__ == "__main__":
    main(sys.argv)
