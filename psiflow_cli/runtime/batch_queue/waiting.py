"""Jobs that wait: what to tell of them, and when waiting is given up."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from psiflow_cli import duration, protocols, registry
from psiflow_cli.errors import NoResources
from psiflow_cli.runtime.batch_queue import reasons
from psiflow_cli.runtime.block_record import LIVE, BlockState

if TYPE_CHECKING:
    from parsl.providers.base import ExecutionProvider

    from psiflow_cli.messages import BlockRecord
    from psiflow_cli.site.executor import ResolvedExecutor

_NAMED = 3
"""So many jobs are named that wait for the same reason."""


class Waiting:
    """Judges the jobs of an executor that wait in the queue of its batch system."""

    def __init__(self, resolved: ResolvedExecutor, parsls_provider: ExecutionProvider | None = None) -> None:
        self._patience = float(duration.parse(resolved.run.queue_patience))
        module = registry.load("runtime.providers", resolved.provider.type)
        self._provider = resolved.provider
        self._judge = module if isinstance(module, protocols.JudgesWaiting) else None
        self._limits = module if isinstance(module, protocols.FindsProblems) else None
        self._hopeless_since: float | None = None
        if parsls_provider and isinstance(module, protocols.TellsWhy):
            reasons.attach(parsls_provider, resolved.provider.type, module.WHY, module.why)

    def check(self, jobs: Mapping[str, BlockRecord]) -> None:
        """Raise NoResources when all live jobs have waited for too long for what never comes by itself."""
        live = {job: record for job, record in jobs.items() if record["state"] in LIVE}
        remedies = [self._remedy(record) for record in live.values()]
        if not remedies or not all(remedies):
            self._hopeless_since = None
            return
        now = time.time()
        self._hopeless_since = self._hopeless_since or now
        if now - self._hopeless_since < self._patience:
            return
        problem = "; ".join([f"no job can start: {'; '.join(_by_reason(live))}", *self._exceeded()])
        waited = f"set how long to wait for such jobs with [run] queue_patience, now {duration.human(self._patience)}"
        raise NoResources(problem, f"{remedies[0]}; {waited}")

    def _exceeded(self) -> list[str]:
        """What the site asks for beyond what there is, in numbers."""
        try:
            return self._limits.problems(self._provider) if self._limits else []
        except NoResources:
            return []

    def _remedy(self, record: BlockRecord) -> str:
        """What to do about a job that never starts by itself; "" for one that may."""
        if self._judge is None or record["state"] not in (BlockState.PENDING, BlockState.HELD):
            return ""
        return self._judge.lasting(record.get("reason", ""))


def summary(jobs: Mapping[str, BlockRecord]) -> list[str]:
    """What to tell while every job is still in the queue; [] otherwise."""
    waiting = {job: record for job, record in jobs.items() if record["state"] == BlockState.PENDING}
    if not waiting or any(record["state"] == BlockState.RUNNING for record in jobs.values()):
        return []
    return [f"in the queue: {'; '.join(_by_reason(waiting))}"]


def _by_reason(jobs: Mapping[str, BlockRecord]) -> list[str]:
    """The jobs with the queue's reasons: `job 1, 2: Priority (others come first)`."""
    grouped: dict[str, list[str]] = {}
    for job, record in jobs.items():
        grouped.setdefault(record.get("reason", ""), []).append(job)
    return [
        f"job {', '.join(named[:_NAMED])}{', …' if len(named) > _NAMED else ''}" + (f": {reason}" if reason else "")
        for reason, named in grouped.items()
    ]
