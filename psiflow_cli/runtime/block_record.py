"""blocks.json: the jobs that a command has in a batch system, and how they are cancelled when it is dead."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, cast

from psiflow_cli.console import note
from psiflow_cli.runtime.jsonfile import read_json, write_json
from psiflow_cli.worker.process import inherited_variables

if TYPE_CHECKING:
    from psiflow_cli.messages import BlockRecord, BlocksRecord, NodeRecord
    from psiflow_cli.site.executor import ResolvedExecutor

FILE = "blocks.json"


class BlockState(str, Enum):
    """What a block is at, in Parsl's words, as blocks.json and `psiflow status --json` have them."""

    UNKNOWN = "UNKNOWN"  # the batch system does not say
    PENDING = "PENDING"  # it waits in the queue
    RUNNING = "RUNNING"  # it runs
    HELD = "HELD"  # it is in the queue, and must not start
    CANCELLED = "CANCELLED"  # somebody has cancelled it
    COMPLETED = "COMPLETED"  # its script has ended well
    FAILED = "FAILED"  # its script has failed, or was refused
    TIMEOUT = "TIMEOUT"  # its time was up
    MISSING = "MISSING"  # it has ended, and no worker of it ever connected
    SCALED_IN = "SCALED_IN"  # it was given back, since nothing waited for it

    __str__ = str.__str__

    @classmethod
    def _missing_(cls, _value: object) -> BlockState:
        return cls.UNKNOWN


LIVE = (BlockState.PENDING, BlockState.RUNNING, BlockState.HELD)
"""States in which a job is or will be there."""
_LEFT = (*LIVE, BlockState.UNKNOWN)
GONE = r"(?i)invalid job|unknown job|already|finished|not found|couldn't find|does not exist"
"""A pattern of what is said of jobs that have ended."""
SILENCE = "it is no longer in the queue"
"""What is known of how a job has ended that the queue does not list."""


class JobRecord:
    """blocks.json of the command at work: every job from the moment that its id is known."""

    def __init__(self, folder: Path, resolved: ResolvedExecutor) -> None:
        self._folder, self._resolved = folder, resolved
        self._lock = threading.Lock()  # Parsl submits in a thread of its own
        self._earlier = end_stale(folder)
        self.jobs: dict[str, BlockRecord] = {}
        self.nodes: dict[str, NodeRecord] = {}
        self.refusal = ""
        self._doubtful: list[str] = []

    def submitting(self, name: str) -> None:
        """Note the name of a job before it is submitted: a command that is killed here never learns its id."""
        with self._lock:
            self._doubtful.append(name)
        self.write()

    def submitted(self, job: str, name: str) -> None:
        self.moved(job, BlockState.PENDING)
        self.refused(name)

    def refused(self, name: str) -> None:
        """No job of this name is without an id."""
        with self._lock:
            self._doubtful.remove(name)
        self.write()

    def moved(self, job: str, state: BlockState, reason: str = "") -> bool:
        """Note the state of a job, and the queue's reason why it waits; returns whether one of them is new."""
        before = self.jobs.get(job)
        if before is not None and before["state"] == state and before.get("reason", "") == reason:
            return False
        with self._lock:
            self.jobs[job] = _moved(before, state, reason)
        return True

    def in_state(self, state: BlockState) -> list[str]:
        return [job for job, record in self.jobs.items() if record["state"] == state]

    def write(self) -> None:
        with self._lock:
            write_json(self._folder / FILE, self._whole())

    def _whole(self) -> BlocksRecord:
        provider = self._resolved.provider
        return {
            "executor": self._resolved.label, "type": provider.type,
            # without it, an id may be that of a job on another cluster
            "clusters": getattr(provider, "clusters", ""),
            "jobs": self.jobs, "doubtful": self._doubtful, "nodes": self.nodes,
            "refused": self.refusal, "earlier": self._earlier,
        }  # fmt: skip

    def cancel(self) -> str:
        """Cancel every job that is not known to have ended; returns what the batch system says against it."""
        record = self._whole()
        with self._lock:
            jobs = left_of(record)
        problem = cancel(record)
        if not problem:
            self._doubtful = []
            for job in jobs:
                if job in self.jobs:
                    self.moved(job, BlockState.CANCELLED)
        if jobs:
            self.write()
        return problem

    def close(self) -> None:
        """Every block has been ended in order; what the batch system would not cancel stays on record."""
        if problem := self.cancel():
            jobs = ", ".join(left_of(self._whole()))
            note(f"could not be cancelled: job {jobs}: {problem}; `psiflow cancel` or the next run will try again")
        elif not self._earlier:
            forget(self._folder, self.nodes)


def _moved(before: BlockRecord | None, state: BlockState, reason: str) -> BlockRecord:
    """What is kept of a job that is in a new state: since when, and how long it was queued (s) once it is not."""
    now = time.time()
    since = before["since"] if before and before["state"] == state else now
    record: BlockRecord = {"state": state, "since": since, "asked": before["asked"] if before else now}
    if reason:
        record["reason"] = reason
    if before and "queued" in before:
        record["queued"] = before["queued"]
    elif state != BlockState.PENDING:
        record["queued"] = round(now - record["asked"], 1)
    return record


def read(folder: Path) -> BlocksRecord:
    """What a run has written down of its blocks; empty if nothing."""
    return cast("BlocksRecord", read_json(folder / FILE))


def queued_jobs(folder: Path) -> list[str]:
    """The jobs that the commands of a run had in a queue or running when they were heard of last."""
    return [job for record in _all(read(folder)) for job in left_of(record)]


def _all(record: BlocksRecord) -> list[BlocksRecord]:
    return [record, *record.get("earlier", [])]


def left_of(record: BlocksRecord) -> list[str]:
    """The ids of one command's jobs that have not ended as far as is known, and the names of those without an id."""
    return [*_ids(record), *record.get("doubtful", [])]


def _ids(record: BlocksRecord) -> list[str]:
    if record.get("type") == "local":
        return []  # processes of this host, which end with the command
    return [job for job, facts in record.get("jobs", {}).items() if facts["state"] in _LEFT]


def end_stale(folder: Path) -> list[BlocksRecord]:
    """Cancel what earlier commands left in a queue; returns what could not be cancelled, and stays on record."""
    jobs, problem = cancel_left(folder)
    if problem:
        note(f"jobs of an earlier command could not be cancelled, trying again: {', '.join(jobs)}: {problem}")
        return _all(read(folder))
    return []


def cancel_left(folder: Path) -> tuple[list[str], str]:
    """Cancel what a dead command left in a queue; returns the jobs and, where that failed, why.

    Only the holder of the run's lock may call it. Jobs that are gone already do no harm.
    """
    record, jobs, problems = read(folder), queued_jobs(folder), []
    remaining = []
    for part in _all(record):
        problem = cancel(part)
        if problem:
            problems.append(problem)
            remaining.append(part)
    if not remaining:
        forget(folder, record.get("nodes", {}))
    elif len(remaining) < len(_all(record)):
        write_json(folder / FILE, {**remaining[0], "earlier": remaining[1:]})
    return jobs, "; ".join(dict.fromkeys(problems))


def forget(folder: Path, nodes: Mapping[str, NodeRecord]) -> None:
    """No job is left; nodes on which blocks failed stay on record until the next command."""
    if nodes:
        write_json(folder / FILE, {"nodes": nodes})
    else:
        (folder / FILE).unlink(missing_ok=True)


def cancel(blocks: BlocksRecord) -> str:
    """Cancel what one command has left by the program of its batch system; returns what it says against it."""
    from psiflow_cli import protocols, registry

    jobs, names = _ids(blocks), blocks.get("doubtful", [])
    if not jobs and not names:
        return ""
    provider = registry.load("runtime.providers", blocks["type"])
    if not isinstance(provider, protocols.Cancels):
        return f"psiflow cannot cancel jobs of {blocks['type']}"
    cluster = [f"--clusters={blocks['clusters']}"] if blocks.get("clusters") else []
    calls = [jobs] if jobs else []
    if isinstance(provider, protocols.CancelsByName):
        calls += [[f"{provider.CANCEL_BY_NAME}{name}"] for name in names]
    elif names:
        note(f"look in the queue for jobs named {', '.join(names)}: they may have been submitted, and have no known id")
    problems = [_run([provider.CANCEL, *cluster, *words], blocks["type"]) for words in calls]
    return next((problem for problem in problems if problem), "")


def _run(argv: list[str], kind: str) -> str:
    """Run a program that cancels jobs; returns its first complaint, less those about jobs that have ended."""
    import subprocess

    try:
        environment = inherited_variables.for_queue(kind)
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, env=environment)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{argv[0]}: {getattr(error, 'strerror', None) or 'no answer within a minute'}"
    complaints = done.stderr.strip().splitlines() if done.returncode else []
    return next((line.strip() for line in complaints if not re.search(GONE, line)), "")
