"""What the run directories say: run.json, the journal and the lock, and nothing else."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from psiflow_cli.runtime import journal, lock
from psiflow_cli.runtime.jsonfile import read_json

_SKIPPED = {".git", "node_modules", "__pycache__"}


def find(places: list[Path]) -> Iterator[Path]:
    """Every run directory at or below these places; nothing inside one is looked at."""
    for place in places:
        for folder, below, files in os.walk(place):
            if "run.json" in files and "journal.jsonl" in files:
                below.clear()
                yield Path(folder)
            else:
                below[:] = sorted(b for b in below if b not in _SKIPPED and not b.startswith(".venv"))


def describe(folder: Path) -> dict[str, Any]:
    """The state of one run, as `psiflow status --json` prints it."""
    run = read_json(folder / "run.json")
    result = run.get("result")
    units = _Units(run)
    for _, record in journal.records(folder / "journal.jsonl"):
        units.add(record)
    alive = lock.is_held(folder / "lock")
    state = _state(result, alive)
    rate = units.rate()
    finished = bool(result and result["finished"])
    done = run["total"] if finished and not units.counted else units.done  # a stage without units is done at once
    left = max(0, run.get("total", 0) - done)
    ended = result["ended"] if result else None
    return {
        "run": str(folder),
        "command": run.get("command"),
        "state": state,
        "total": run.get("total", 0),
        "done": done,
        "failed": units.failed,
        "lost": units.lost,
        "started": _iso(run.get("started")),
        "updated": _iso(max(filter(None, [units.updated, ended, run.get("started")]), default=None)),
        "rate_per_s": rate,
        "eta_s": left / rate if state == "running" and rate else None,
        "core_hours": round(units.core_seconds / 3600, 6),
        "host": run.get("host"),
        "pid": run.get("pid"),
        "slurm_job_id": run.get("slurm_job_id"),
        "waiting": _waiting(folder) if state == "running" else {},
        "exit_code": result["exit_code"] if result else None,
        "info": units.info,
    }


def _state(result: dict[str, Any] | None, alive: bool) -> str:
    """done: ended with 0; partial: ended in order with something missing; failed: ended by an error; dead: vanished."""
    if result is None:
        return "running" if alive else "dead"
    code = result["exit_code"]
    if code == 0:
        return "done"
    return "partial" if code in (1, 75, 130) else "failed"


def _waiting(folder: Path) -> dict[str, float]:
    """The jobs that are in a batch system's queue, with the seconds each has waited there."""
    blocks = read_json(folder / "blocks.json")
    jobs = blocks.get("jobs", {}) if blocks.get("type") != "local" else {}  # a process of this host is in no queue
    return {job: round(time.time() - facts["since"], 1) for job, facts in jobs.items() if facts["state"] == "PENDING"}


class _Units:
    """Finished units of the run's present settings, counted from the journal."""

    def __init__(self, run: dict[str, Any]) -> None:
        self._of: dict[str, tuple[dict[str, int], set[str]]] = {}
        self._begun = run.get("started", 0.0)
        self._now = 0
        """Finished by the present invocation."""
        self._last = ""
        self.updated: float | None = None
        self.core_seconds = 0.0
        self.lost = 0
        """How often a unit was lost with its worker in the present invocation."""
        self.info: dict[str, Any] = {}

    def add(self, record: dict[str, Any]) -> None:
        """Count one record."""
        if record.get("kind") == "begin":
            self._now = self.lost = 0
        if record.get("kind") == "lost":
            self.lost += len(record["ids"])
        if record.get("kind") != "unit":
            return
        self._last = record["of"]
        at, failed = self._of.setdefault(self._last, ({}, set()))
        self._now += record.get("at", 1) - at.get(record["id"], 0)
        at[record["id"]] = record.get("at", 1)
        (failed.discard if record["ok"] else failed.add)(record["id"])
        self.updated = record["t"]
        self.core_seconds += record["s"] * record["cores"]
        self.info = record.get("info", {})

    @property
    def counted(self) -> bool:
        """Whether there was any unit."""
        return bool(self._last)

    @property
    def done(self) -> int:
        return sum(self._of[self._last][0].values()) if self._last else 0

    @property
    def failed(self) -> int:
        return len(self._of[self._last][1]) if self._last else 0

    def rate(self) -> float | None:
        """Units per second of the present invocation."""
        if self.updated is None or self.updated <= self._begun:
            return None
        return round(self._now / (self.updated - self._begun), 6) or None


def failures(folder: Path) -> list[dict[str, Any]]:
    """The failed units of a run: id, class, message and log, by class."""
    latest: dict[str, dict[str, Any]] = {}
    for _, line in journal.lines(folder / "journal.jsonl"):
        record = journal.head(line)
        if record.get("kind") == "unit":
            latest[record["id"]] = record if record["ok"] else journal.whole(line)
    listed = []
    for record in latest.values():
        if not record["ok"]:
            value = record.get("value") or {}
            said = value.get("message") or (record.get("stopped") or {}).get("reason", "")
            listed.append(
                {"id": record["id"], "failure": record["failure"], "message": said, "log": value.get("log", "")}
            )
    return sorted(listed, key=lambda f: (f["failure"], f["id"]))


def _iso(stamp: float | None) -> str | None:
    return None if stamp is None else datetime.fromtimestamp(stamp, timezone.utc).isoformat(timespec="seconds")


def age(iso: str | None) -> str:
    """How long ago, in one unit: `12 s`, `5 min`, `3 h`, `2 d`."""
    if iso is None:
        return "-"
    seconds = max(0.0, time.time() - datetime.fromisoformat(iso).timestamp())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
