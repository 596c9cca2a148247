"""The processes of this host, as /proc shows them; where there is no /proc, hardly anything can be told."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable, Iterator

_STATE, _PARENT, _SESSION, _START = 0, 1, 3, 19
"""Where these stand behind the command's name in /proc/PID/stat."""

_ESTABLISHED, _CONNECTING = b"01", b"02"


def exists() -> bool:
    """Whether this system has a /proc."""
    return os.path.exists("/proc/self/stat")


def host() -> str:
    """What tells this host, with its processes as they are seen from here, from any other: names may be the same."""
    words = [os.uname().nodename]
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id") as stream:
        words.append(stream.read().strip())
    with contextlib.suppress(OSError):
        words.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(words)


def has_connection_to(port: int) -> bool:
    """Whether a process of this host is connected to that port of a host, or tries to be and has no answer yet.

    True where that cannot be told.
    """
    was_readable = False
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError), open(f"/proc/self/net/{table}", "rb") as stream:
            for line in stream:
                was_readable = True
                words = line.split(maxsplit=4)
                if words[2].endswith(b":%04X" % port) and words[3] in (_ESTABLISHED, _CONNECTING):
                    return True
    return not was_readable


def start_time(pid: int) -> str:
    """A process's start in clock ticks since boot, "" if it is gone (a pid alone may be used again).

    Without /proc it is `unknown` of every process that there is.
    """
    fields = _fields(pid)
    if fields:
        return "" if fields[_STATE] == "Z" else fields[_START]
    return "" if exists() or not _has_pid(pid) else "unknown"


def descendants() -> list[int]:
    """Every process below this one."""
    children: dict[int, list[int]] = {}
    for pid, fields in _stats():
        children.setdefault(int(fields[_PARENT]), []).append(pid)
    below: list[int] = []
    todo = [os.getpid()]
    while todo:
        pids = children.get(todo.pop(), [])
        below += pids
        todo += pids
    return below


def session_members(session: int) -> Iterator[int]:
    """The live processes of a session."""
    for pid, fields in _stats():
        if int(fields[_SESSION]) == session and fields[_STATE] != "Z":
            yield pid


def command_line(pid: int) -> bytes:
    """Its words, each closed by a zero byte; empty if it is gone."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as stream:
        return stream.read()
    return b""


def own_memory(pids: Iterable[int]) -> float:
    """MB of memory that these processes hold, without what they share with others."""
    pages = 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError), open(f"/proc/{pid}/statm") as stream:
            resident, shared = stream.read().split()[1:3]
            pages += int(resident) - int(shared)
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def kill_all(pids: Iterable[int], number: signal.Signals) -> bool:
    """Send a signal to each of these processes; False if there was none."""
    sent = False
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
            sent = True
    return sent


def _has_pid(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _stats() -> Iterator[tuple[int, list[str]]]:
    for name in os.listdir("/proc") if exists() else ():
        if name.isdigit() and (fields := _fields(int(name))):
            yield int(name), fields


def _fields(pid: int) -> list[str]:
    """What stands in /proc/PID/stat behind the command's name; empty if the process is gone."""
    try:
        with open(f"/proc/{pid}/stat") as stream:
            return stream.read().rpartition(")")[2].split()
    except OSError:
        return []
