"""Ends a run in order, through the process that holds its lock; of a dead one, what it has left in a queue.

A holder on this host gets SIGTERM; one on another host finds a request in the run directory at its next heartbeat. Both
then stop as at a deadline: their blocks are cancelled, and what is finished is kept.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli.errors import Stopped
from psiflow_cli.runtime import block_record, lock
from psiflow_cli.runtime.jsonfile import read_run
from psiflow_cli.runtime.stop import request as stop_request
from psiflow_cli.stages.runs import status
from psiflow_cli.stages.runs.status import RunState

if TYPE_CHECKING:
    from psiflow_cli.messages import CancelledRun, Holder


class Ending:
    """The end of one run: `ask` for it, wait until it `is_over`, then `conclude`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = folder / "lock"
        self.holder: Holder = lock.read(self._lock) if lock.is_held(self._lock) else {}
        """Who has to end; empty if nobody runs."""
        self.was = status.state_of(folder, read_run(folder))
        if self.holder:
            self.was = RunState.RUNNING  # an earlier result stands until this invocation begins

    @property
    def holder_text(self) -> str:
        """The holder as a person would look for it."""
        job = f" in SLURM job {self.holder['slurm_job_id']}" if self.holder.get("slurm_job_id") else ""
        return f"pid {self.holder.get('pid', '?')} on {self.holder.get('host', '?')}{job}"

    @property
    def queued_jobs(self) -> list[str]:
        """The jobs that its command, at work or dead, has in a queue as far as is known."""
        return block_record.queued_jobs(self.folder)

    def ask(self) -> None:
        """Ask the holder to stop; raises PermissionError where it is somebody else's."""
        if not self.holder:
            return
        if not lock.is_here(self.holder):
            stop_request.ask(self.folder, self.holder)
            return
        try:
            os.kill(self.holder["pid"], signal.SIGTERM)
            os.kill(self.holder["pid"], signal.SIGCONT)  # one that Ctrl-Z has suspended
        except ProcessLookupError:
            return  # it has just ended

    def is_over(self) -> bool:
        """Whether nobody has to end any more."""
        return not self.holder or not lock.holds(self._lock, self.holder)

    def conclude(self) -> CancelledRun:
        """Cancel the jobs that nobody else will; returns how the run stands now."""
        jobs, problem = self.queued_jobs, ""
        if jobs:
            try:
                held = lock.Lock(self._lock)
            except Stopped:  # another command has begun, and sees to them
                jobs = []
            else:
                jobs, problem = block_record.cancel_left(self.folder)
                held.release()
        run = status.describe(self.folder)
        return {
            "run": str(self.folder), "was": self.was, "state": run["state"], "exit_code": run["exit_code"],
            "done": run["done"], "total": run["total"] if run["command"] else None,  # which had not begun
            "slurm_job_id": self.holder.get("slurm_job_id"), "cancelled": [] if problem else jobs,
            "left": jobs if problem else [], "problem": problem,
        }  # fmt: skip
