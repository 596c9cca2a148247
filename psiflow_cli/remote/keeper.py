"""The one process that waits for a command at the far end: it outlives the connection, and writes down the exit code.

All is in the job's folder: `asked.json`, `stdin`, `stdout`, `stderr`, `lock`, `signal` and `exit`. The lock shows also
on another login node whether the command runs, and a signal reaches it from there as well.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn, TypedDict

from psiflow_cli import atomic_file
from psiflow_cli.errors import IO_ERROR, PsiflowError
from psiflow_cli.runtime import lock
from psiflow_cli.runtime.stop import request as stop_request

_LOOK_S = 0.2


class Call(TypedDict):
    """A command to run."""

    argv: list[str]
    cwd: str
    site: str
    round: str  # of a loop, or empty


def command(call: Call) -> list[str]:
    """This very psiflow, with the arguments of a command."""
    return [sys.executable, sys.argv[0], *call["argv"]]


def environment(call: Call) -> dict[str, str]:
    return {**os.environ, "PSIFLOW_SITE": call["site"], "PSIFLOW_ROUND": call["round"]}


def stdin(job: Path) -> Path:
    """What a command reads: what was sent for it, or nothing."""
    return path if (path := job / "stdin").exists() else Path(os.devnull)


def state(job: Path) -> str:
    """`running`, `ended`, or `none` if no command was started or its keeper has vanished."""
    if (job / "exit").exists():
        return "ended"
    if lock.is_held(job / "lock"):
        return "running"
    return "ended" if (job / "exit").exists() else "none"


def exit_code(job: Path) -> int:
    return int((job / "exit").read_text())


def start(job: Path, call: Call) -> None:
    """Start a command, unless another connection has just done so; returns when its files are there."""
    receiver, sender = os.pipe()
    sys.stdout.flush()
    if os.fork() == 0:
        os.close(receiver)
        _follow_command(job, call, sender)
    os.close(sender)
    with os.fdopen(receiver, "rb") as stream:
        if problem := stream.read().decode():
            raise PsiflowError(f"the command cannot be started there: {problem}", "", IO_ERROR)


def _follow_command(job: Path, call: Call, sender: int) -> NoReturn:
    """Run the command, as a process of a session of its own that has nothing of the connection."""
    problem = ""
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nothing, number)
        held = lock.Lock(job / "lock")
        with contextlib.suppress(FileNotFoundError):
            (job / stop_request.FILE).unlink()  # it is no run directory
        process = _started(job, call)
    except PsiflowError:
        os._exit(0)  # another one keeps it
    except OSError as error:
        problem = str(error)
    os.write(sender, problem.encode())
    os.close(sender)
    if not problem:
        atomic_file.write(job / "exit", str(_waited(job, process)))
        held.release()
    os._exit(0)


def _started(job: Path, call: Call) -> subprocess.Popen[bytes]:
    for name in ("exit", "signal"):
        (job / name).unlink(missing_ok=True)
    with stdin(job).open("rb") as source, (job / "stdout").open("wb") as out, (job / "stderr").open("wb") as err:
        return subprocess.Popen(
            command(call), cwd=call["cwd"], env=environment(call), stdin=source, stdout=out, stderr=err
        )


def _waited(job: Path, process: subprocess.Popen[bytes]) -> int:
    """The exit code, as a shell would report it."""
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, lambda *_: process.terminate())  # such as when the machine goes down
    request = job / "signal"
    while (code := process.poll()) is None:
        with contextlib.suppress(FileNotFoundError, ValueError):
            number = int(request.read_text())
            request.unlink()
            process.send_signal(number)
        time.sleep(_LOOK_S)
    return code if code >= 0 else 128 - code
