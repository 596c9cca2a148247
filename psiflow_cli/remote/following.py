"""What the machine at hand does while the command runs at the far end: says what that says, and passes signals on."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NamedTuple

from psiflow_cli import console, duration
from psiflow_cli.errors import INTERRUPTED, STOPPED, PsiflowError, Stopped
from psiflow_cli.remote import record
from psiflow_cli.remote.ssh import SILENCE_S, Connection, Cut

if TYPE_CHECKING:
    from typing_extensions import Self

    from psiflow_cli.messages import RemoteRun, Reply, Request
    from psiflow_cli.site.schema import Remote

AGAIN = "nothing is lost: run the same command again to follow it or fetch its results"
_LONGEST_PAUSE_S = 10.0


class Job(NamedTuple):
    """A command at the far end."""

    remote: Remote
    opening: Request
    mirror: str
    outputs: list[str]
    """As the command there has them."""
    folder: Path | None = None
    """The run directory here; None if it leaves none."""
    record: RemoteRun | None = None

    def with_local_paths(self, text: str) -> str:
        """What the far end says, with its paths as they are called here."""
        return record.with_local_paths(text, self.mirror)


class Signals:
    """While entered, signals to stop are passed on; a second Ctrl-C, or the end of the terminal, leaves the command."""

    def __init__(self, host: str) -> None:
        self._host = host
        self.waiting: list[int] = []
        self._interrupts = 0

    def __enter__(self) -> Self:
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
        self._previous = {number: signal.signal(number, self._note) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            self._interrupts += 1
        if self._interrupts > 1 or number == signal.SIGHUP:
            code = INTERRUPTED if number == signal.SIGINT else STOPPED
            raise Stopped(f"the command continues on {self._host} until it ends", AGAIN, code)
        self.waiting.append(number)
        if number == signal.SIGINT:
            console.note(f"asking the command on {self._host} to stop; press Ctrl-C again to let it continue there")


def follow(connection: Connection, job: Job, at: int, signals: Signals) -> tuple[Connection, Reply]:
    """The last reply about a command, after saying what it says; a lost connection is made again.

    Returns the connection, too. Raises Stopped where there is none in time.
    """
    while True:
        try:
            connection.send({"do": "follow", "at": at})
            while "exit" not in (reply := _receive(connection, signals)):
                at = reply.get("at", at)
                _tell(job, reply)
            return connection, reply
        except Cut:
            connection.close()
            console.note(f"the connection to {job.remote.host} is lost; the command continues there")
            connection = again(job, signals)


def _receive(connection: Connection, signals: Signals) -> Reply:
    """The next reply; signals are passed on meanwhile."""
    begun = time.monotonic()
    while time.monotonic() - begun < SILENCE_S:
        while signals.waiting:
            connection.send({"do": "signal", "number": signals.waiting[0]})
            del signals.waiting[0]
        if (reply := connection.poll()) is not None:
            return reply
    raise Cut


def _tell(job: Job, reply: Reply) -> None:
    if text := reply.get("stderr"):
        console.put(job.with_local_paths(text))
    if job.folder and job.record and (status := reply.get("status")):
        record.write(job.folder, {**job.record, "as_of": time.time(), "status": status})


def again(job: Job, signals: Signals) -> Connection:
    """A new connection to the same job. Raises Stopped if there is none within the time that the site gives."""
    patience = float(duration.parse(job.remote.reconnect)) if job.remote.reconnect != "0" else 0.0
    deadline, pause = time.monotonic() + patience, 0.5
    while True:
        try:
            connection = Connection(job.remote)
            state = connection.ask(job.opening)["state"]
        except PsiflowError as error:
            if signals.waiting or time.monotonic() + pause > deadline:
                code = INTERRUPTED if signal.SIGINT in signals.waiting else STOPPED
                raise Stopped(f"{error.message}; the command continues there", AGAIN, code) from None
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)
            continue
        if state == "none":
            raise Stopped(f"{job.remote.host}: the command is no longer running there", "run the same command again")
        return connection
