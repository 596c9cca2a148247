"""cost.json: what the jobs of a run have cost, all of their cores from start to end; the time in the queue is free."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from psiflow_cli.runtime.jsonfile import read_json, write_json

if TYPE_CHECKING:
    from psiflow_cli.messages import CostRecord

FILE = "cost.json"
_EVERY_S = 60.0
"""How often it is noted that jobs still run: when a command is killed, nobody sees the end of its jobs."""


class Usage(NamedTuple):
    """What a queue itself says of a job."""

    cores: int
    seconds: float  # that it had run
    asked: float  # when that was so (seconds since 1970)


class Cost:
    """Adds up the jobs of a command, and of those before it in the same run directory."""

    def __init__(self, folder: Path, cores: int) -> None:
        """`cores` are those of a job of which the queue does not say how many it has."""
        self._path, self._cores = folder / FILE, cores
        record = _read(folder)
        self._ended_core_s = _total(record, record["seen"])
        self._running: dict[str, tuple[int, float]] = {}
        self._usages: dict[str, Usage] = {}
        self._ended: set[str] = set()
        self._written = 0.0

    def runs(self, job: str, usage: Usage | None, began: float | None = None) -> None:
        """A job runs, since it was first seen to, or since another time (seconds since 1970)."""
        if job in self._ended:
            return
        is_new = job not in self._running
        if usage:
            self._note(job, usage)
            self._running[job] = usage.cores or self._cores, usage.asked - usage.seconds
        elif is_new:
            self._running[job] = self._cores, time.time() if began is None else began
        if is_new or time.time() - self._written >= _EVERY_S:
            self._write()

    def ended(self, job: str, usage: Usage | None = None) -> None:
        """A job has ended: when the queue says so, or now; one that never ran costs nothing."""
        if job in self._ended:
            return
        self._ended.add(job)
        if usage:
            self._note(job, usage)
        cores, began = self._running.pop(job, (usage.cores or self._cores if usage else 0, 0.0))
        if cores:
            self._ended_core_s += cores * max(0.0, usage.seconds if usage else time.time() - began)
            self._write()

    def _note(self, job: str, usage: Usage) -> None:
        """A job that has run for less time than before was requeued: its run before counts, too."""
        earlier = self._usages.get(job, usage)
        if usage.seconds < earlier.seconds:
            self._ended_core_s += (earlier.cores or self._cores) * earlier.seconds
            self._written = 0.0
        self._usages[job] = usage

    def end(self) -> None:
        """Every job ends now."""
        for job in list(self._running):
            self.ended(job)

    def _write(self) -> None:
        self._written = time.time()
        running = {job: {"cores": cores, "began": began} for job, (cores, began) in self._running.items()}
        ended = round(self._ended_core_s, 1)
        write_json(self._path, {"seen": self._written, "ended_core_s": ended, "running": running})


def core_seconds(folder: Path, now: float | None) -> float:
    """What the jobs of a run have cost until now, or None: until they were seen last."""
    record = _read(folder)
    return _total(record, record["seen"] if now is None else now)


def _read(folder: Path) -> CostRecord:
    return cast("CostRecord", {"seen": 0.0, "ended_core_s": 0.0, "running": {}, **read_json(folder / FILE)})


def _total(record: CostRecord, until: float) -> float:
    running = sum(job["cores"] * max(0.0, until - job["began"]) for job in record["running"].values())
    return record["ended_core_s"] + running
