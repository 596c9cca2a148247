"""Submitting a task again in the same run: as often as the site says for its class of failure.

A task that was lost with a whole node, and not alone, is not to blame for it: such a loss does not count.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from psiflow_cli.runtime.task import Outcome, Task
from psiflow_cli.site.executor import ResolvedExecutor

if TYPE_CHECKING:
    from psiflow_cli.messages import FailureClass
    from psiflow_cli.runtime.session import Session


def has_try_left(task: Task, failure: FailureClass, executor: ResolvedExecutor) -> bool:
    """Whether a task that ended with this class of failure has a try left."""
    return task.tries <= executor.retries(failure)


def after_loss(task: Task, outcome: Outcome, executor: ResolvedExecutor) -> Task | None:
    """What to submit in place of a lost task, or None where it was lost often enough."""
    if outcome.blame and not has_try_left(task, "worker-lost", executor):
        return None
    return replace(task, tries=task.tries + outcome.blame)


def final_outcome(task: Task, session: Session, note_lost: Callable[[str], None] | None = None) -> Outcome:
    """The outcome of one task, or of the last that was submitted in its place; `note_lost` gets why each was lost."""
    while True:
        session.submit(task)
        ended, outcome = session.next()
        if outcome.lost and note_lost:
            note_lost(outcome.lost)
        again = after_loss(ended, outcome, session.executor) if outcome.lost else None
        if again is None:
            return outcome
        task = again
