"""The jobs of a user as squeue lists them, those that have just ended included."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psiflow_cli.runtime.batch_queue import slurm_group_limits
from psiflow_cli.runtime.batch_queue.cost import Usage
from psiflow_cli.runtime.batch_queue.shared_answer import Answer, SharedAnswer
from psiflow_cli.runtime.batch_queue.slurm_reasons import explained
from psiflow_cli.runtime.block_record import SILENCE
from psiflow_cli.worker.process import inherited_variables

if TYPE_CHECKING:
    from parsl.jobs.states import JobState

_FORMAT = "%i|%T|%C|%M|%r"
_STATES = {
    "PENDING": "PENDING", "CONFIGURING": "PENDING", "REQUEUED": "PENDING", "REQUEUE_HOLD": "PENDING",
    "REQUEUE_FED": "PENDING", "SPECIAL_EXIT": "PENDING", "RESV_DEL_HOLD": "PENDING", "POWER_UP_NODE": "PENDING",
    "RUNNING": "RUNNING", "COMPLETING": "RUNNING", "RESIZING": "RUNNING", "SIGNALING": "RUNNING",
    "STAGE_OUT": "RUNNING", "SUSPENDED": "RUNNING", "STOPPED": "RUNNING",  # they keep their place, and go on
    "COMPLETED": "COMPLETED", "CANCELLED": "CANCELLED", "TIMEOUT": "TIMEOUT", "DEADLINE": "TIMEOUT",
    "PREEMPTED": "TIMEOUT", "FAILED": "FAILED", "NODE_FAIL": "CANCELLED", "BOOT_FAIL": "FAILED",
    "OUT_OF_MEMORY": "FAILED", "REVOKED": "FAILED", "LAUNCH_FAILED": "FAILED", "RECONFIG_FAIL": "FAILED",
}  # fmt: skip
"""SLURM's states (squeue(1)) in Parsl's words; a job that only waits must be PENDING, or Parsl submits another."""
_ABSENT = 2
"""A job is gone when so many answers in a row do not list it."""
_YOUNG_S = 60.0
"""A job that was never listed may be too young: a busy controller takes its time."""
_SETTLE_S = 2.0
"""So old a job must be before the queue is asked: before, there is no reason yet why it waits."""


@dataclass(frozen=True)
class Listed:
    """A job in squeue's list."""

    state: str
    cores: int
    seconds: float  # that it has run
    reason: str


def parse(text: str) -> dict[str, Listed]:
    """The jobs of squeue's answer by their ids; lines of another form (the name of a cluster) are no jobs."""
    jobs = {}
    for line in text.splitlines():
        words = line.strip().split("|", 4)
        if len(words) == 5:
            job, state, cores, run_time, reason = words
            cores_number = int(cores) if cores.isdigit() else 0
            jobs[job] = Listed(state, cores_number, _seconds(run_time), "" if reason == "None" else reason)
    return jobs


def _seconds(run_time: str) -> float:
    """`1-02:03:04`, `2:03:04` or `3:04` in s; 0 for a job that has not run."""
    days, _, clock = run_time.rpartition("-")
    parts = clock.split(":")
    if not all(part.isdigit() for part in (*parts, days or "0")):
        return 0.0
    seconds = sum(int(part) * 60**power for power, part in enumerate(reversed(parts)))
    return float(seconds + 86400 * int(days or 0))


class SlurmJobs:
    """Brings the status of a provider's jobs up to date from the list that all commands share."""

    def __init__(self, clusters: str, every_s: float, timeout_s: float) -> None:
        where = [f"--clusters={clusters}"] if clusters else []
        argv = ["squeue", *where, "--noheader", f"--user={os.getuid()}", "--states=all", f"--format={_FORMAT}"]
        self._shared = SharedAnswer(argv, inherited_variables.for_queue("slurm"), every_s, timeout_s)
        self._clusters = clusters
        self._limits: dict[tuple[str, str], str] = {}  # what a job exceeds that waits for a reason
        self._submitted: dict[str, float] = {}
        self._absences: dict[str, int] = {}
        self._listed: set[str] = set()  # jobs that were in a list before
        self._seen = 0.0

    def submitted(self, job: str) -> None:
        """An older answer does not speak of this job."""
        self._submitted[job] = time.time()

    def update(self, jobs: Mapping[Any, MutableMapping[str, Any]]) -> None:
        """Set the `status` of a provider's jobs, and the `usage` of those that have run.

        Nothing changes while squeue fails: a queue that does not answer has not ended anything.
        """
        active = {job: facts for job, facts in jobs.items() if not facts["status"].terminal}
        if not active or time.time() - min(self._submitted.get(job, 0.0) for job in active) < _SETTLE_S:
            return
        answer = self._shared.newest()
        if answer is None or answer.exit_code or answer.asked <= self._seen:
            return
        self._seen = answer.asked
        listed = parse(answer.text)
        for job, facts in active.items():
            if answer.asked > self._submitted.get(job, 0.0):
                self._update(job, facts, listed.get(job), answer)

    def _update(self, job: str, facts: MutableMapping[str, Any], listed: Listed | None, answer: Answer) -> None:
        from parsl.jobs.states import JobState, JobStatus

        if listed:
            self._listed.add(job)
            self._absences.pop(job, None)
            state: JobState = JobState[_STATES.get(listed.state, "UNKNOWN")]
            reason = explained(listed.reason, self._beyond(job, listed.reason))
            if listed.state in ("SUSPENDED", "STOPPED"):
                reason = listed.state
            if listed.seconds:
                facts["usage"] = Usage(listed.cores, listed.seconds, answer.asked)
        else:
            self._absences[job] = self._absences.get(job, 0) + 1
            is_old = job in self._listed or answer.asked - self._submitted.get(job, 0.0) >= _YOUNG_S
            if self._absences[job] < _ABSENT or not is_old:
                return
            state, reason = JobState.COMPLETED, SILENCE
        facts["status"] = JobStatus(
            state, reason or None, stdout_path=facts["job_stdout_path"], stderr_path=facts["job_stderr_path"]
        )

    def _beyond(self, job: str, reason: str) -> str:
        if (job, reason) not in self._limits:
            self._limits[job, reason] = slurm_group_limits.beyond(job, reason, self._clusters)
        return self._limits[job, reason]
