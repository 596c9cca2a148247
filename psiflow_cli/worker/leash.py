"""Run a command, and end it with all its descendants when psiflow is gone.

    python leash.py LEASH.json COMMAND [ARGUMENT ...]

Parsl's interchange and worker pools outlive a killed parent for minutes. The leash file says whose life this one hangs
on ({"host", "pid", "started"}) and holds what must not pass through a shell: {"cwd", "env"}. On another host, where the
parent cannot be seen, Parsl's own heartbeats end the workers.
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
    while child.poll() is None:
        if stop or not _parent_lives(leash):
            _end_all()
            return 0
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(POLL_S)
    _end_all()
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _parent_lives(leash: dict[str, str]) -> bool:
    if leash["host"] != os.uname().nodename:
        return True
    try:
        with open(f"/proc/{leash['pid']}/stat") as stream:
            fields = stream.read().rpartition(")")[2].split()
    except OSError:
        return not os.path.exists("/proc/self/stat")
    return fields[0] != "Z" and fields[19] == leash["started"]


def _descendants() -> list[int]:
    """Every process below this one, from /proc."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc") else []:
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError), open(f"/proc/{name}/stat") as stream:
                children.setdefault(int(stream.read().rpartition(")")[2].split()[1]), []).append(int(name))
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
