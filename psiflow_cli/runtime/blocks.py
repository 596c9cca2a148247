"""The blocks of a stage: which jobs they are, how long they wait, and whether they die without doing anything.

Parsl would give up at the first block that fails, and replace those that end by a time limit or a cancellation for
ever; so its own watch is off, and every block that ends without a finished task is counted here.
"""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli import duration
from psiflow_cli.console import detail, note
from psiflow_cli.errors import NoResources
from psiflow_cli.runtime import parsl_internals
from psiflow_cli.runtime.block_record import FILE, BlockState
from psiflow_cli.runtime.jsonfile import write_json

if TYPE_CHECKING:
    from parsl.executors.base import ParslExecutor

    from psiflow_cli.messages import BlockRecord, BlocksRecord
    from psiflow_cli.site.executor import ResolvedExecutor

_NO_ROOM = 1 << 16  # bytes; with less, logs cannot be written


class Blocks:
    """Watches an executor's blocks; `look` is cheap and is called twice a second."""

    def __init__(self, executor: ParslExecutor, resolved: ResolvedExecutor, folder: Path) -> None:
        self._executor, self._resolved, self._folder = executor, resolved, folder
        self._jobs: dict[str, BlockRecord] = {}
        self._ended: set[str] = set()
        self._barren = 0  # blocks that ended since the last finished task, while tasks waited for them
        self._connected = False
        self._last_words = ""

    def worked(self) -> None:
        """A task has finished or got on: workers are there, and blocks are worth their time."""
        self._connected = True
        self._barren = 0

    def look(self, pending: int) -> None:
        """Note what became of each block; raises NoResources when there is no hope for the pending tasks."""
        statuses = parsl_internals.statuses(self._executor)
        if statuses is None:
            return  # threads have no blocks
        changed = False
        live = sum(not status.terminal for status in statuses.values())
        for block, status in statuses.items():
            job = parsl_internals.job_of(self._executor, block) or block
            state, before = BlockState(status.state.name), self._jobs.get(job)
            if before is None or before["state"] != state:
                self._jobs[job] = _moved(before, state)
                changed = True
                detail(f"job {job} of the executor {self._resolved.label}: {state.name.lower()}")
            if status.terminal and block not in self._ended:
                self._ended.add(block)
                self._bury(block, (status.stderr_summary or status.message or "").strip(), live, pending)
        if changed:
            self._write()
        if parsl_internals.interchange_has_ended(self._executor):
            raise no_resources(self._folder, "the process that hands the tasks to the workers has died", self._logs())
        if pending:
            self._give_up(live)

    def waits(self) -> list[str]:
        """What to tell while every job is still in the queue of a batch system; [] otherwise."""
        states = {job: record["state"] for job, record in self._jobs.items()}
        queued = [job for job, state in states.items() if state == BlockState.PENDING]
        if self._resolved.provider.type == "local" or not queued or BlockState.RUNNING in states.values():
            return []
        return [f"in the queue: job {', '.join(queued[:3])}{', …' if len(queued) > 3 else ''}"]

    def _write(self) -> None:
        provider = self._resolved.provider
        record: BlocksRecord = {
            "executor": self._resolved.label,
            "type": provider.type,
            # without it, an id may be that of a job on another cluster
            "clusters": getattr(provider, "clusters", ""),
            "jobs": self._jobs,
        }
        write_json(self._folder / FILE, record)

    def _bury(self, block: str, last_words: str, live: int, pending: int) -> None:
        """Count a block that ended, unless it was refused while others live: there may be a limit to a user's jobs."""
        refused = parsl_internals.job_of(self._executor, block) is None
        if refused and live:
            parsl_internals.allow_blocks(self._executor, live)
            note(f"no more blocks can be started, going on with {live}{_because(last_words)}")
        elif pending:
            self._barren += 1
            self._last_words = last_words or self._last_words

    def _give_up(self, live: int) -> None:
        limit = self._resolved.run.max_block_failures
        never_again = self._resolved.run.strategy == "none" and self._ended and not live
        if self._barren >= limit or never_again:
            problem = f"{self._barren} block{'s' * (self._barren != 1)} ended without finishing a task"
            raise no_resources(self._folder, problem + _because(self._last_words), self._logs())
        running = [job["since"] for job in self._jobs.values() if job["state"] == BlockState.RUNNING]
        patience = float(duration.parse(self._resolved.run.first_worker))
        if self._connected or not running or time.time() - min(running) < patience:
            return
        if parsl_internals.has_workers(self._executor):
            self._connected = True
            return
        addresses = ", ".join(parsl_internals.addresses(self._executor)) or "no address"
        problem = f"a block runs, but no worker connected within {duration.human(patience)} to {addresses}"
        hint = f"[executors.{self._resolved.label}] address names the one that reaches this host; {self._logs()}"
        raise no_resources(self._folder, problem, hint)

    def describe_loss(self, pool: str, host: str) -> str:
        """What a task was lost with: the job of a worker pool of HTEX, and its host."""
        block = parsl_internals.block_of_pool(self._folder / "parsl" / self._resolved.label, pool)
        return f"lost with job {parsl_internals.job_of(self._executor, block) or '?'} on host {host}"

    def _logs(self) -> str:
        return f"logs: {self._folder / 'parsl'}"

    def end(self) -> None:
        """Cancel every block that lives, and let no other begin."""
        statuses = parsl_internals.statuses(self._executor)
        if statuses is None:
            return
        parsl_internals.allow_blocks(self._executor, 0)
        live = [block for block, status in statuses.items() if not status.terminal]
        parsl_internals.cancel_blocks(self._executor, live)

    def forget(self) -> None:
        """Every block has been ended in order."""
        (self._folder / FILE).unlink(missing_ok=True)


def _moved(before: BlockRecord | None, state: BlockState) -> BlockRecord:
    """What is kept of a job that is in a new state: since when, and how long it was queued (s) once it is not."""
    now = time.time()
    record: BlockRecord = {"state": state, "since": now, "asked": before["asked"] if before else now}
    if before and "queued" in before:
        record["queued"] = before["queued"]
    elif state != BlockState.PENDING:
        record["queued"] = round(now - record["asked"], 1)
    return record


def no_resources(folder: Path, message: str, hint: str) -> Exception:
    """NoResources; or, where the disk of the run directory is full, which keeps workers from starting, that."""
    disk = os.statvfs(folder)
    if disk.f_bavail * disk.f_frsize < _NO_ROOM:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
    return NoResources(message, hint)


def _because(text: str) -> str:
    lines = text.strip().splitlines()
    return f": {lines[-1].strip()[:300]}" if lines else ""
