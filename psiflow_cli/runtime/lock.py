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
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

from psiflow_cli.errors import Stopped
from psiflow_cli.runtime.jsonfile import read_json
from psiflow_cli.runtime.stop import request as stop_request
from psiflow_cli.worker.pool import process_table

if TYPE_CHECKING:
    from psiflow_cli.messages import Holder

BEAT_S = 10.0
DEAD_AFTER_S = 60.0
INTRODUCTION_S = 0.3
started = process_table.start_time


class Lock:
    """Held from construction to `release`, or to the end of the process."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._take(path)
        except BaseException:
            os.close(self._fd)
            raise
        stop_request.prepare(path.parent)
        self._path = path
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
        me, asked = _me(), False
        while not self._stop.wait(BEAT_S):
            lost = self._is_lost()
            with contextlib.suppress(OSError):
                if not lost:
                    os.utime(self._fd)
            if not asked and (lost or stop_request.is_for(self._path.parent, me)):
                asked = True
                os.kill(os.getpid(), signal.SIGTERM)

    def _is_lost(self) -> bool:
        """Whether another host has taken the lock over: one that stands still for a minute counts as dead there."""
        return read(self._path) not in ({}, _me())

    def release(self) -> None:
        self._stop.set()
        with contextlib.suppress(OSError):
            if not self._is_lost():
                os.ftruncate(self._fd, 0)
            os.close(self._fd)


def read(path: Path) -> Holder:
    """What the lock file says of its holder; empty if nobody."""
    return cast("Holder", read_json(path))


def _introduced(path: Path) -> Holder:
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


def is_here(holder: Holder) -> bool:
    """Whether a holder is, or was, a process of this host."""
    return bool(holder.get("host") == os.uname().nodename)


def holds(path: Path, holder: Holder) -> bool:
    """Whether this holder has still to end: on this host its process, elsewhere its word in the file."""
    if is_here(holder):
        return started(holder.get("pid", 0)) == holder.get("started")
    return read(path) == holder and is_held(path)


def _alive(holder: Holder, path: Path, same_host_possible: bool) -> bool:
    if is_here(holder):
        pid = holder.get("pid", 0)
        return same_host_possible and started(pid) == holder.get("started") and _has_open(pid, path)
    with contextlib.suppress(OSError):
        return time.time() - path.stat().st_mtime < DEAD_AFTER_S
    return False


def _has_open(pid: int, path: Path) -> bool:
    """Whether a process has the file open, or that cannot be told; in a copy of a run directory it has not."""
    try:
        this = path.stat()
        for each in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(each.stat(), this):
                    return True
    except OSError:
        return True
    return False


def _me() -> Holder:
    pid = os.getpid()
    return {
        "host": os.uname().nodename, "pid": pid, "started": started(pid),
        "slurm_job_id": os.environ.get("SLURM_JOB_ID"),
    }  # fmt: skip


def _held(path: Path, holder: Holder) -> Stopped:
    job = f", SLURM job {holder['slurm_job_id']}" if holder.get("slurm_job_id") else ""
    who = f"pid {holder.get('pid', '?')} on {holder.get('host', '?')}{job}"
    return Stopped(f"{path.parent}: another run holds this output: {who}", "wait for it, or stop it and run this again")
