"""Run one program with a time limit and a memory limit, and leave none of its processes behind.

The program leads a session of its own. Launchers such as Open MPI's `mpirun` give every rank a process group, so what
is ended is the session, found through /proc; elsewhere than on Linux it is the process group.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from psiflow_cli.worker.pool import process_table, watchdog

_PR_SET_PDEATHSIG = 1
_GRACE = 2.0
"""Seconds between SIGTERM, on which a launcher tidies its shared memory up, and SIGKILL."""
MEMORY_POLL = 0.2
_STOP_POLL = 0.5


@dataclass(frozen=True)
class Outcome:
    """How a program ended; `returncode` is negative for a signal, as in `subprocess`."""

    returncode: int
    seconds: float
    timed_out: bool = False
    out_of_memory: bool = False
    stopped: bool = False


def run(
    argv: Sequence[str],
    log: Path,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    seconds: float | None = None,
    memory: float | None = None,
    cpus: Sequence[int] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Outcome:
    """Run `argv` and write its output and its errors to `log`.

    It is ended after `seconds`, when all its processes together hold more than `memory` MB of their own, or when
    `stop`, which is asked every half second, says so. It runs on `cpus` only, where these are given, and on Linux it
    dies with the thread that called this function. Raises OSError (FileNotFoundError, PermissionError) if it cannot be
    started.
    """
    watchdog.extend(seconds)
    start = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=None if env is None else dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=in_child(cpus),
        )
    timed_out = out_of_memory = stopped = False
    try:
        while process.poll() is None:
            remaining = None if seconds is None else start + seconds - time.monotonic()
            timed_out = remaining is not None and remaining <= 0
            out_of_memory = memory is not None and memory_of(process.pid) > memory
            stopped = stop is not None and stop()
            if timed_out or out_of_memory or stopped:
                break
            step = MEMORY_POLL if memory is not None else _STOP_POLL if stop else remaining
            if step is not None and remaining is not None:
                step = min(step, remaining)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(step)
    finally:
        end(process)
    return Outcome(process.returncode, time.monotonic() - start, timed_out, out_of_memory, stopped)


def in_child(cpus: Sequence[int] | None) -> Callable[[], None] | None:
    """What the new process does before the program: ask to die with its parent, and keep to its CPUs."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)  # loaded here: between fork and exec nothing may be imported
    parent = os.getpid()

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the request above
            os._exit(1)
        if cpus:
            os.sched_setaffinity(0, cpus)

    return prepare


def end(process: subprocess.Popen[bytes]) -> None:
    """End whatever is left of the session, politely first, and reap its leader."""
    if process.poll() is None:
        _signal(process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
    deadline = time.monotonic() + _GRACE
    while _signal(process, signal.SIGKILL) and time.monotonic() < deadline:
        process.poll()
        time.sleep(0.01)
    process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> bool:
    """Send a signal to every process of the session; False if there was none."""
    if process_table.exists():
        return process_table.kill_all(process_table.session_members(process.pid), number)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
    return False


def memory_of(session: int) -> float:
    """MB that the session's processes hold, without what they share with others; 0 where there is no /proc."""
    return process_table.own_memory(process_table.session_members(session))
