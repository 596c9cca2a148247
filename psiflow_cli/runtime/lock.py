"""One live run per run directory: an flock for this host, a heartbeat for the others.

The file stays; what counts is who holds the flock and what the file says. On file systems whose flock does not reach
other hosts, a holder elsewhere shows itself by its heartbeat, and counts as dead when that has stood still for 60 s.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

from psiflow_cli.errors import Stopped

BEAT_S = 10.0
DEAD_AFTER_S = 60.0
INTRODUCTION_S = 0.3


class Lock:
    """Held from construction to `release`, or to the end of the process."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._take(path)
        except BaseException:
            os.close(self._fd)
            raise
        self._stop = threading.Event()
        threading.Thread(target=self._beat, name="lock-heartbeat", daemon=True).start()

    def _take(self, path: Path) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone = True
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise _held(path, _introduced(path)) from None
            alone = False  # this file system knows no flock
        holder = read(path)
        if holder and _alive(holder, path, same_host_possible=not alone):
            raise _held(path, holder)
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, json.dumps(_me()).encode(), 0)
        os.fsync(self._fd)

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_S):
            with contextlib.suppress(OSError):
                os.utime(self._fd)

    def release(self) -> None:
        """Give the lock back."""
        self._stop.set()
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, 0)
            os.close(self._fd)


def read(path: Path) -> dict[str, Any]:
    """What the lock file says of its holder; empty if nobody."""
    try:
        holder = json.loads(path.read_text() or "{}")
    except (OSError, ValueError):
        return {}
    return holder if isinstance(holder, dict) else {}


def _introduced(path: Path) -> dict[str, Any]:
    """What the holder says of itself; one that has just begun needs a moment to say it, over the word of a dead one."""
    deadline = time.monotonic() + INTRODUCTION_S
    while not is_held(path) and time.monotonic() < deadline:
        time.sleep(0.01)
    return read(path)


def is_held(path: Path) -> bool:
    """Whether a live run holds the lock, for `status`: nothing is taken and nothing changes."""
    holder = read(path)
    if not holder:
        return False
    return _alive(holder, path, same_host_possible=True)


def _alive(holder: dict[str, Any], path: Path, same_host_possible: bool) -> bool:
    if holder.get("host") == os.uname().nodename:
        return same_host_possible and started(holder.get("pid", 0)) == holder.get("started")
    with contextlib.suppress(OSError):
        return time.time() - path.stat().st_mtime < DEAD_AFTER_S
    return False


def started(pid: int) -> str:
    """A process's start time in clock ticks since boot, "" if it is gone (a pid alone may be used again)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        if Path("/proc/self/stat").exists():
            return ""
        try:  # no /proc: all that can be asked is whether the pid exists
            os.kill(pid, 0)
        except OSError:
            return ""
        return "unknown"
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]


def _me() -> dict[str, Any]:
    pid = os.getpid()
    return {
        "host": os.uname().nodename,
        "pid": pid,
        "started": started(pid),
        "slurm_job_id": os.environ.get("SLURM_JOB_ID"),
    }


def _held(path: Path, holder: dict[str, Any]) -> Stopped:
    job = f", SLURM job {holder['slurm_job_id']}" if holder.get("slurm_job_id") else ""
    who = f"pid {holder.get('pid', '?')} on {holder.get('host', '?')}{job}"
    return Stopped(f"{path.parent}: another run holds this output: {who}", "wait for it, or end it and run this again")
