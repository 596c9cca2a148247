"""Reasons to stop before the end: signals and deadlines."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from types import FrameType

from psiflow_cli.errors import INTERRUPTED, STOPPED, Stopped
from psiflow_cli.worker.process import inherited_variables

SLURM_MARGIN_S = 30.0  # how long before the end of a SLURM job to stop
AGAIN = "nothing finished is lost: run the same command again"
_STOPPING = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP)


class StopSignals:
    """While entered, SIGTERM, SIGUSR1 and Ctrl-C are noted instead of killing the process."""

    def __init__(self, deadline: float | None, wake: Callable[[], None]) -> None:
        self._deadline = deadline
        self._wake = wake
        self._received: int | None = None
        self._is_ending = False
        self._previous: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}

    def __enter__(self) -> StopSignals:
        for number in _STOPPING:
            self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self._received is not None or self._is_ending:
            return  # one is enough: a second must not interrupt the writing down of how the run ended
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._received = number
        self._wake()

    def remaining(self) -> float:
        """Seconds to the deadline, infinite without one."""
        return float("inf") if self._deadline is None else self._deadline - time.time()

    def extend(self, seconds: float) -> None:
        """It was time to stop: so much is left to do it in order, unless another signal comes."""
        self._received, self._is_ending = None, True
        self._deadline = time.time() + seconds

    def check(self) -> None:
        """Raise Stopped if it is time to stop."""
        if self._received is not None:
            raise _stopped(self._received)
        if self.remaining() <= 0:
            raise Stopped("stopped at the deadline", AGAIN)


def _stopped(number: int) -> Stopped:
    code = INTERRUPTED if number == signal.SIGINT else STOPPED
    return Stopped(f"stopped by {signal.Signals(number).name}", AGAIN, code)


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Where no task runs, a signal to stop takes effect at once, as an exception; a second one does nothing more."""
    stopping = False

    def stop(number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        if not stopping:
            stopping = True
            raise _stopped(number)

    previous = {number: signal.signal(number, stop) for number in _STOPPING}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def slurm_deadline() -> float | None:
    """When the enclosing SLURM job ends, less a margin to stop in order; None outside one."""
    job = os.environ.get("SLURM_JOB_ID")
    if not job:
        return None
    end = os.environ.get("SLURM_JOB_END_TIME", "")
    if end.isdigit():
        return int(end) - SLURM_MARGIN_S
    try:
        answer = subprocess.run(
            ["squeue", "-h", "-j", job, "-o", "%L"], capture_output=True, text=True, timeout=20, check=False,
            env=inherited_variables.for_queue("slurm"),
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    from psiflow_cli import duration

    try:
        return time.time() + duration.parse(answer.stdout.strip()) - SLURM_MARGIN_S
    except ValueError:
        return None  # UNLIMITED, or a job that squeue no longer knows
