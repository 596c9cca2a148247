"""Why jobs of PBS, LSF, Grid Engine and HTCondor wait: Parsl asks for their states, but not for the reasons."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from psiflow_cli.worker.process import inherited_variables

if TYPE_CHECKING:
    from parsl.jobs.states import JobStatus
    from parsl.providers.base import ExecutionProvider

_EVERY_S = 60.0
_TIMEOUT_S = 60.0
_LASTING = re.compile(r"can never run|\bheld\b|on hold|suspended by (the|its) (user|owner|admin)", re.IGNORECASE)


def lasting(reason: str) -> str:
    """What to do about a reason that never passes by itself; "" for one that may."""
    return (
        "have the job released while it waits, or request what the queue can provide" if _LASTING.search(reason) else ""
    )


def attach(provider: ExecutionProvider, kind: str, command: list[str], parse: Callable[[str], dict[str, str]]) -> None:
    """Let the statuses of a provider say why jobs wait, asked at most once a minute, and once why one has failed.

    Parsl would submit jobs without end in the place of one that is held, so that counts as one that waits.
    """
    ask = provider.status
    reasons: dict[str, str] = {}
    failed: set[str] = set()
    last_query = 0.0

    def status(jobs: Sequence[object]) -> Sequence[JobStatus]:
        nonlocal last_query
        from parsl.jobs.states import JobState

        statuses = ask(jobs)
        for each in statuses:
            if each.state == JobState.HELD:
                each.state, each.message = JobState.PENDING, each.message or "held"
        waiting = {str(job): each for job, each in zip(jobs, statuses, strict=True) if each.state == JobState.PENDING}
        died = {str(job): each for job, each in zip(jobs, statuses, strict=True) if each.state == JobState.FAILED}
        if not failed.issuperset(died) or (waiting and time.monotonic() - last_query > _EVERY_S):
            reasons.update(parse(_output(kind, [*command, *waiting, *(job for job in died if job not in failed)])))
            failed.update(died)
            last_query = time.monotonic()
        for job, each in (waiting | died).items():
            each.message = reasons.get(job) or reasons.get(job.partition(".")[0]) or each.message
        return statuses

    provider.status = status  # type: ignore[assignment, method-assign]


def _output(kind: str, argv: list[str]) -> str:
    """What a command prints; "" where it cannot be asked: reasons are good to have, and no more."""
    try:
        return subprocess.run(
            argv, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S, check=False,
            env=inherited_variables.for_queue(kind),
        ).stdout  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""


def of_pbs(text: str) -> dict[str, str]:
    """The comments, and the holds, of `qstat -f`."""
    reasons = {}
    for record in re.split(r"^Job Id:\s*", text, flags=re.MULTILINE)[1:]:
        job, _, rest = record.partition("\n")
        facts = dict(re.findall(r"^\s+([\w.]+) = (.*)$", re.sub(r"\n\t", "", rest), re.MULTILINE))
        held = f"held ({facts['Hold_Types']})" if facts.get("job_state") == "H" else ""
        if reason := ": ".join(filter(None, (held, facts.get("comment", "").strip()))):
            reasons[job.strip()] = reason
    return reasons


def of_lsf(text: str) -> dict[str, str]:
    """The lines below each job of `bjobs -p`."""
    reasons: dict[str, str] = {}
    job = ""
    for line in text.splitlines():
        if line[:1].isdigit():
            job = line.split()[0]
        elif job and line.strip():
            reasons[job] = f"{reasons.get(job, '')} {line.strip()}".strip()
    return reasons


def of_grid_engine(text: str) -> dict[str, str]:
    """The first line of the scheduling info of each job of `qstat -j`."""
    records = re.split(r"^job_number:\s*", text, flags=re.MULTILINE)[1:]
    matches = ((record.split()[0], re.search(r"^scheduling info:\s*(.+)$", record, re.MULTILINE)) for record in records)
    return {job: match[1].strip() for job, match in matches if match}


def of_condor(text: str) -> dict[str, str]:
    """The lines of `condor_q -af:j HoldReason`."""
    rows = re.findall(r"^(\d\S*) +(.*\S)", text, re.MULTILINE)
    return {job: f"held: {reason}" for job, reason in rows if reason != "undefined"}
