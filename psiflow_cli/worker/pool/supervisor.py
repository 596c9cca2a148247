"""Run a command, and end it with all its descendants when psiflow is gone.

    python supervisor.py SUPERVISION.json COMMAND [ARGUMENT ...]

Parsl's interchange and worker pools outlive a killed parent for minutes. The file says whose life this one hangs on,
and holds what must not pass through a shell. On another host, where the parent cannot be seen, the pool's connection to
it tells: the kernel of the parent's host closes it when the process dies, and keeps it while the process is only
stopped or slow, or its file system hangs.

A worker pool that lost a process it cannot do without would send heartbeats for ever and finish no task: it is ended
too, so that its tasks run elsewhere.
"""

from __future__ import annotations

import contextlib
import ctypes
import glob
import json
import os
import re
import signal
import string
import subprocess
import sys
import tempfile
import time
from typing import TypedDict

if __name__ == "__main__":  # run by its path, where psiflow may be found only in the command's own environment
    sys.path.append(os.path.abspath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 3)))

from psiflow_cli.worker.pool import gpu_slots, process_table, short_tmpdir, temporary_folders, watchdog

_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_PDEATHSIG = 1
POLL_S = 0.5
LOG_POLL_S = 5.0
_COMPLAINT = re.compile(r" (?:WARNING|ERROR|CRITICAL): (.*)")
_TOLD = 20
"""So many of a pool's complaints are worth telling, the last ones."""
ORPHAN_S = 15.0
"""A pool whose connection is gone for so long is an orphan: Parsl connects again ten times a second."""
FIRST_CONNECTION_S = 120.0
"""Likewise for one that has just been started, whose packages may come from a slow file system."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class _Stopped(Exception):
    """A signal asks for the end."""


class Supervision(TypedDict):
    """The file of one supervisor."""

    host: str
    """Of the process whose end is this one's end; see `process_table.host`."""
    pid: int
    started: str
    """See `process_table.start_time`."""
    cwd: str
    env: dict[str, str]
    """Over the environment of the supervisor."""
    gpus: gpu_slots.Plan | None
    logs: str
    """The run's folder of logs."""
    scratch: str
    """Where tasks make their scratch folders, with environment variables in it; "" is $TMPDIR."""


def main(argv: list[str]) -> int:
    with open(argv[1]) as stream:
        supervision: Supervision = json.load(stream)
    libc = ctypes.CDLL(None) if hasattr(ctypes, "CDLL") and sys.platform == "linux" else None
    if libc:
        # orphaned grandchildren become ours, so that all of them can be found and ended
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    is_pool = any("process_worker_pool" in word for word in argv[2:])
    if not is_pool:
        with contextlib.suppress(OSError):  # the leader of a group is out of reach already
            os.setsid()  # Ctrl-C is for psiflow, which still needs its interchange to stop in order
    command, env = argv[2:], {**os.environ, **supervision["env"]}
    # as the tasks will see it, whose environment this is
    scratch = string.Template(supervision["scratch"]).safe_substitute(env) or env.get("TMPDIR") or tempfile.gettempdir()
    is_interchange = any(word.endswith("interchange.py") for word in command)
    if supervision["gpus"] and not is_interchange:
        try:
            env[gpu_slots.SLOTS] = gpu_slots.share(supervision["gpus"], env)
        except ValueError as error:
            print(f"psiflow: {error}", file=sys.stderr)
            return 1
        command = _with_workers(command, len(gpu_slots.slots(env)))
    folder = short_tmpdir.make(env) if is_pool else ""
    command, logs = _with_logs_below(folder, command)
    env.pop(watchdog.FOLDER, None)  # of a pool whose task this command is
    if logs:
        env[watchdog.FOLDER] = folder
    child = subprocess.Popen(
        command,
        env=env,
        cwd=supervision["cwd"],
        stderr=_complaints(supervision["cwd"]) if is_interchange else None,
        preexec_fn=(lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)) if libc else None,
    )
    try:
        for number in _SIGNALS:
            signal.signal(number, _stop)
        reason = _watch(child, supervision, _Pool(command) if is_pool else None, env.get(watchdog.FOLDER, ""))
    except _Stopped:
        reason = 0
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    _end_all()
    if not is_interchange:
        temporary_folders.remove_abandoned(scratch)
    if logs and (reason is None or reason > 0):
        _tell(logs)
    short_tmpdir.remove(folder)
    if reason is not None:
        return reason
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _with_workers(command: list[str], most: int) -> list[str]:
    """The command of Parsl's pool with no more workers than there are GPUs for; another command as it is."""
    option = "--max_workers_per_node="
    return [f"{option}{most}" if word.startswith(option) else word for word in command]


def _stop(_number: int, _frame: object) -> None:
    raise _Stopped


def _watch(child: subprocess.Popen[bytes], supervision: Supervision, pool: _Pool | None, hangs: str) -> int | None:
    """Wait for the command to end, None, or to be ended: what to exit with then."""
    while child.poll() is None:
        if hangs:
            watchdog.deliver(hangs, supervision["logs"])
        if not _parent_lives(supervision):
            return 0
        if pool and (pool.is_orphan() or pool.is_stuck()):
            return 1
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(POLL_S)
    return None


def _complaints(folder: str) -> int:
    """Where the interchange's stderr goes: what Python says of a disk too full for its log is not for a terminal."""
    try:
        return os.open(os.path.join(folder, "interchange.err"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError:
        return subprocess.DEVNULL


def _with_logs_below(folder: str, command: list[str]) -> tuple[list[str], str]:
    """The command of a pool that logs below its folder on this host, and where; "" if nothing changes.

    Parsl's own place is the run's folder, where they would be the most of its files. A pool in a container may not see
    another one.
    """
    if not folder or not any(word.endswith("process_worker_pool.py") for word in command):
        return command, ""
    logs = os.path.join(folder, "logs")
    return [f"--logdir={logs}" if word.startswith("--logdir=") else word for word in command], logs


def _tell(logs: str) -> None:
    """The complaints of a pool that failed go to the block's own log."""
    for path in glob.glob(os.path.join(glob.escape(logs), "block-*", "*", "manager.log")):
        with contextlib.suppress(OSError), open(path, errors="replace") as stream:
            complaints = [match[1].strip() for line in stream if (match := _COMPLAINT.search(line))]
            for complaint in complaints[-_TOLD:]:
                print(f"psiflow: the worker pool reports: {complaint}", file=sys.stderr)


class _Pool:
    """Parsl's worker pool, as far as it shows that it will finish no task any more, or nobody waits for it."""

    def __init__(self, argv: list[str]) -> None:
        options = dict(word.split("=", 1) for word in argv if word.startswith("--") and "=" in word)
        folder, block = options.get("--logdir", ""), options.get("--block_id", "")
        self._logs = os.path.join(glob.escape(folder), f"block-{block}", "*", "manager.log")
        self._read: dict[str, int] = {}
        self._server: tuple[int, str] | None = None
        """The server of its shared dictionaries, the first process that it spawns."""
        self._next_log = 0.0
        self._port = int(options.get("--port", "0"))
        self._connected = time.monotonic() + FIRST_CONNECTION_S - ORPHAN_S
        """When it last had a connection to the interchange, or is to have one."""

    def is_orphan(self) -> bool:
        """Whether it lost its connection to the interchange for good."""
        if process_table.has_connection_to(self._port):
            self._connected = time.monotonic()
        return time.monotonic() - self._connected > ORPHAN_S

    def is_stuck(self) -> bool:
        """Whether the server is dead, or a worker died while it held the lock of the queue of tasks."""
        self._server = self._server or _first_spawned()
        if self._server and not _lives(*self._server):
            return True
        if time.monotonic() < self._next_log:
            return False
        self._next_log = time.monotonic() + LOG_POLL_S
        return any(map(self._lost_an_idle_worker, glob.glob(self._logs)))

    def _lost_an_idle_worker(self, path: str) -> bool:
        """Whether the pool's log says so: one of the idle workers has the lock, and nothing else tells which one."""
        with contextlib.suppress(OSError), open(path, "rb") as stream:
            stream.seek(self._read.get(path, 0))
            text = stream.read()
            whole = text[: text.rfind(b"\n") + 1]
            self._read[path] = self._read.get(path, 0) + len(whole)
            for line in whole.splitlines():
                writer = re.search(rb"MainProcess-(\d+) ", line)  # pools on other nodes log beside this one
                if b"was not busy when it died" in line and writer and int(writer[1]) in process_table.descendants():
                    return True
        return False


def _parent_lives(supervision: Supervision) -> bool:
    return supervision["host"] != process_table.host() or _lives(int(supervision["pid"]), supervision["started"])


def _lives(pid: int, started: str) -> bool:
    return not process_table.exists() or process_table.start_time(pid) == started


def _first_spawned() -> tuple[int, str] | None:
    """(process id, start) of the oldest process below this one that multiprocessing spawned."""
    spawned = []
    for pid in process_table.descendants():
        if b"multiprocessing.spawn" in process_table.command_line(pid) and (start := process_table.start_time(pid)):
            spawned.append((int(start), pid))
    if not spawned:
        return None
    first, pid = min(spawned)
    return pid, str(first)


def _end_all() -> None:
    """SIGTERM, a moment for mpirun to end its ranks, then SIGKILL until nothing is left."""
    for number, patience in ((signal.SIGTERM, 1.0), (signal.SIGKILL, 2.0)):
        deadline = time.monotonic() + patience
        process_table.kill_all(process_table.descendants(), number)
        while time.monotonic() < deadline:
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            if not process_table.descendants():
                return
            time.sleep(0.01)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
