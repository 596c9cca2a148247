"""Run a command, and end it with all its descendants when psiflow is gone.

    python leash.py LEASH.json COMMAND [ARGUMENT ...]

Parsl's interchange and worker pools outlive a killed parent for minutes. The leash file says whose life this one hangs
on ({"host", "pid", "started"}) and holds what must not pass through a shell: {"cwd", "env"}. On another host, where the
parent cannot be seen, Parsl's own heartbeats end the workers.

A worker pool whose bookkeeping process (the server of its shared dictionaries, the first that it spawns) is dead would
send heartbeats for ever and finish no task: it is ended too, so that its tasks run elsewhere.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time

_PR_SET_CHILD_SUBREAPER = 36
POLL_S = 0.5


def main(argv: list[str]) -> int:
    with open(argv[1]) as stream:
        leash = json.load(stream)
    if hasattr(ctypes, "CDLL") and sys.platform == "linux":
        # orphaned grandchildren become ours, so that all of them can be found and ended
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    stop: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda n, _frame: stop.append(n))
    child = subprocess.Popen(argv[2:], env={**os.environ, **leash["env"]}, cwd=leash["cwd"])
    is_pool = any("process_worker_pool" in word for word in argv[2:])
    books: tuple[int, str] | None = None
    while child.poll() is None:
        if stop or not _parent_lives(leash):
            _end_all()
            return 0
        books = books or (_first_spawned() if is_pool else None)
        if books and not _lives(*books):
            _end_all()
            return 1
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(POLL_S)
    _end_all()
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _parent_lives(leash: dict[str, str]) -> bool:
    return leash["host"] != os.uname().nodename or _lives(int(leash["pid"]), leash["started"])


def _lives(pid: int, started: str) -> bool:
    fields = _fields(pid)
    if not fields:
        return not os.path.exists("/proc/self/stat")
    return fields[0] != "Z" and fields[19] == started


def _fields(pid: int) -> list[str]:
    """A process as /proc has it, from its state on; empty if it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as stream:
            return stream.read().rpartition(")")[2].split()
    except OSError:
        return []


def _first_spawned() -> tuple[int, str] | None:
    """(process id, start) of the oldest process below this one that multiprocessing spawned."""
    found = []
    for pid in _descendants():
        with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as stream:
            if b"multiprocessing.spawn" in stream.read() and (fields := _fields(pid)):
                found.append((int(fields[19]), pid))
    if not found:
        return None
    start, pid = min(found)
    return pid, str(start)


def _descendants() -> list[int]:
    """Every process below this one, from /proc."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc") else []:
        if name.isdigit() and (fields := _fields(int(name))):
            children.setdefault(int(fields[1]), []).append(int(name))
    found: list[int] = []
    todo = [os.getpid()]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def _end_all() -> None:
    """SIGTERM, a moment for mpirun to end its ranks, then SIGKILL until nothing is left."""
    for number, patience in ((signal.SIGTERM, 1.0), (signal.SIGKILL, 2.0)):
        deadline = time.monotonic() + patience
        for pid in _descendants():
            with contextlib.suppress(OSError):
                os.kill(pid, number)
        while time.monotonic() < deadline:
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            if not _descendants():
                return
            time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
