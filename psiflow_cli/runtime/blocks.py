"""The blocks of a stage: which jobs they are, how long they wait, and whether they die without doing anything.

Parsl would give up at the first block that fails, and replace those that end by a time limit or a cancellation for
ever; so its own watch is off, and every block that ends without a finished task is counted here.
"""

from __future__ import annotations

import errno
import os
import re
import subprocess
import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psiflow_cli import duration
from psiflow_cli.console import note
from psiflow_cli.errors import NoResources
from psiflow_cli.runtime.jsonfile import read_json, write_json

if TYPE_CHECKING:
    from psiflow_cli.site.executor import ResolvedExecutor

FILE = "blocks.json"
LIVE = ("PENDING", "RUNNING", "HELD")
"""States in which a job is or will be there."""
_GONE = re.compile(r"invalid job|unknown job|already|finished|not found|couldn't find|does not exist", re.IGNORECASE)
"""What is said of jobs that have ended."""
_NO_ROOM = 1 << 16
"""Bytes; with less, logs cannot be written."""


class Blocks:
    """Watches an executor's blocks; `look` is cheap and is called twice a second."""

    def __init__(self, executor: Any, resolved: ResolvedExecutor, folder: Path) -> None:
        self._executor, self._resolved, self._folder = executor, resolved, folder
        self._jobs: dict[str, dict[str, Any]] = {}
        self._ended: set[str] = set()
        self._barren = 0
        """Blocks that ended since the last finished task, while tasks waited for them."""
        self._connected = False
        self._last_words = ""

    def worked(self) -> None:
        """A task has finished or got on: workers are there, and blocks are worth their time."""
        self._connected = True
        self._barren = 0

    def look(self, pending: int) -> None:
        """Note what became of each block; raises NoResources when there is no hope for the pending tasks."""
        if not hasattr(self._executor, "status_facade"):
            return  # threads have no blocks
        changed, now = False, list(self._executor.status_facade.items())
        live = sum(not status.terminal for _, status in now)
        for block, status in now:
            job = str(self._executor.blocks_to_job_id.get(block, block))
            known = self._jobs.get(job)
            if known is None or known["state"] != status.state.name:
                self._jobs[job] = _moved(known or {}, status.state.name)
                changed = True
            if status.terminal and block not in self._ended:
                self._ended.add(block)
                self._bury(block, (status.stderr_summary or status.message or "").strip(), live, pending)
        if changed:
            provider = self._resolved.provider
            where = {"executor": self._resolved.label, "type": provider.type}
            clusters = getattr(provider, "clusters", "")  # without it, an id may be that of a job on another cluster
            write_json(self._folder / FILE, {**where, "clusters": clusters, "jobs": self._jobs})
        interchange = getattr(self._executor, "interchange_proc", None)
        if interchange is not None and interchange.poll() is not None:
            raise no_resources(self._folder, "the process that hands the tasks to the workers has died", self._logs())
        if pending:
            self._give_up(live)

    def _bury(self, block: str, last_words: str, live: int, pending: int) -> None:
        """Count a block that ended, unless it was refused while others live: there may be a limit to a user's jobs."""
        refused = block not in self._executor.blocks_to_job_id
        if refused and live:
            self._executor.provider.max_blocks = live  # else Parsl would ask again twice a second
            note(f"no more blocks can be started, going on with {live}{_because(last_words)}")
        elif pending:
            self._barren += 1
            self._last_words = last_words or self._last_words

    def _give_up(self, live: int) -> None:
        limit = self._resolved.run.max_block_failures
        never_again = self._resolved.run.strategy == "none" and self._ended and not live
        if self._barren >= limit or never_again:
            raise no_resources(
                self._folder,
                f"{self._barren} block{'s' * (self._barren != 1)} ended without finishing a task"
                f"{_because(self._last_words)}",
                self._logs(),
            )
        running = [j["since"] for j in self._jobs.values() if j["state"] == "RUNNING"]
        patience = float(duration.parse(self._resolved.run.first_worker))
        if self._connected or not running or time.time() - min(running) < patience:
            return
        # Work Queue does not say which workers are there, but theirs give up by themselves
        if not hasattr(self._executor, "connected_managers") or self._executor.connected_managers():
            self._connected = True
            return
        addresses = ", ".join(sorted(getattr(self._executor, "all_addresses", ()))) or "no address"
        raise no_resources(
            self._folder,
            f"a block runs, but no worker connected within {duration.human(patience)} to {addresses}",
            f"[executors.{self._resolved.label}] address names the one that reaches this host; {self._logs()}",
        )

    def epitaph(self, error: Any) -> str:
        """What a task was lost with: the job whose worker pool HTEX's ManagerLost names, and its host."""
        pool = error.manager_id.decode(errors="replace")
        place = self._folder / "parsl" / self._resolved.label
        folder = next(place.glob(f"block-*/{pool}"), None)
        block = folder.parent.name.removeprefix("block-") if folder else ""
        job = self._executor.blocks_to_job_id.get(block, "?")
        return f"lost with job {job} on host {error.hostname}"

    def _logs(self) -> str:
        return f"logs: {self._folder / 'parsl'}"

    def end(self) -> None:
        """Cancel every block that lives, and let no other begin."""
        if not hasattr(self._executor, "status_facade"):
            return
        self._executor.provider.max_blocks = 0
        live = [block for block, status in list(self._executor.status_facade.items()) if not status.terminal]
        jobs = [self._executor.blocks_to_job_id[block] for block in live if block in self._executor.blocks_to_job_id]
        if jobs:
            self._executor.provider.cancel(jobs)

    def forget(self) -> None:
        """Every block has been ended in order."""
        (self._folder / FILE).unlink(missing_ok=True)


def _moved(known: dict[str, Any], state: str) -> dict[str, Any]:
    """What is kept of a job that is in a new state: since when, and how long it was queued (s) once it is not."""
    now = time.time()
    asked = known.get("asked", now)
    queued = known.get("queued", None if state == "PENDING" else round(now - asked, 1))
    return {"state": state, "since": now, "asked": asked, **({} if queued is None else {"queued": queued})}


def no_resources(folder: Path, message: str, hint: str) -> Exception:
    """NoResources; or, where the disk of the run directory is full, which keeps workers from starting, that."""
    disk = os.statvfs(folder)
    if disk.f_bavail * disk.f_frsize < _NO_ROOM:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
    return NoResources(message, hint)


def _because(text: str) -> str:
    lines = text.strip().splitlines()
    return f": {lines[-1].strip()[:300]}" if lines else ""


def left(folder: Path) -> list[str]:
    """The jobs that the last command of a run had in a queue or running when it was heard of last."""
    facts = read_json(folder / FILE)
    if facts.get("type") == "local":
        return []  # processes of this host, which end with the command
    return [job for job, each in facts.get("jobs", {}).items() if each["state"] in LIVE]


def end_stale(folder: Path) -> None:
    """Cancel what an earlier, killed command left in a queue."""
    cancel_left(folder)
    (folder / FILE).unlink(missing_ok=True)


def cancel_left(folder: Path) -> tuple[list[str], str]:
    """Cancel what a dead command left in a queue; returns the jobs and, where that failed, why.

    Only the holder of the run's lock may call it. Jobs that are gone already do no harm.
    """
    jobs, facts = left(folder), read_json(folder / FILE)
    said = _cancel(facts, jobs) if jobs else ""
    if not said:
        (folder / FILE).unlink(missing_ok=True)
    return jobs, said


def _cancel(facts: dict[str, Any], jobs: list[str]) -> str:
    """Cancel jobs by the program of their batch system; returns what was said against it."""
    program = getattr(import_module(f"psiflow_cli.runtime.providers.{facts['type']}"), "CANCEL", None)
    if program is None:
        return f"psiflow cannot cancel what {facts['type']} runs"
    where = [f"--clusters={facts['clusters']}"] if facts.get("clusters") else []
    try:
        done = subprocess.run([program, *where, *jobs], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{program}: {getattr(error, 'strerror', None) or 'no answer within a minute'}"
    complaints = done.stderr.strip().splitlines() if done.returncode else []
    return next((line.strip() for line in complaints if not _GONE.search(line)), "")
