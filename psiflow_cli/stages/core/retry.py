"""How often a task is tried again: as often as the site says for its class of failure.

A task that was lost with a whole node, and not alone, is not to blame for it: such a loss does not count.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from psiflow_cli.runtime.task import Outcome, Task
from psiflow_cli.site.executor import ResolvedExecutor

if TYPE_CHECKING:
    from psiflow_cli.messages import FailureClass


def is_left(task: Task, failure: FailureClass, executor: ResolvedExecutor) -> bool:
    """Whether a task that ended with this class of failure has a try left."""
    return task.tries <= executor.retries(failure)


def after_loss(task: Task, outcome: Outcome, executor: ResolvedExecutor) -> Task | None:
    """What to submit in place of a lost task, or None where it was lost often enough."""
    if outcome.blame and not is_left(task, "worker-lost", executor):
        return None
    return replace(task, tries=task.tries + outcome.blame)
