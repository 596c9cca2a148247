"""The members of a committee in training: each is a task of its own, with its share of the time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli.errors import BUG, NO_RESOURCES, PsiflowError
from psiflow_cli.protocols import Model
from psiflow_cli.runtime.session import Outcome, Session, Task

if TYPE_CHECKING:
    from psiflow_cli.messages import Context, TrainedMember, TrainingJob

DELIVERY_S = 10.0  # what is kept of the time to the deadline for making the bundle


@dataclass
class Member:
    """One training, and how often in a row its worker was lost before it finished an epoch."""

    index: int
    folder: Path
    job: TrainingJob
    tries: int = 0
    losses: int = 0
    epochs: int = 0

    def goes_on(self, module: Model, task: Task, outcome: Outcome, session: Session) -> bool:
        """Whether a lost training is to be tried again; every finished epoch starts the count again."""
        epochs = len(module.progress(self.folder))
        if epochs > self.epochs:
            self.epochs, self.tries, task.losses = epochs, 0, 1
        self.losses = task.losses
        self.tries += outcome.blame
        return self.tries <= session.executor.retries("worker-lost")


def train(
    members: list[Member], module: Model, worker: str, session: Session, context: Context,
    lost: Callable[[list[str], str], None],
) -> list[TrainedMember]:  # fmt: skip
    """What the trainer says of each member, in order; one that is lost with its worker goes on from its checkpoint."""
    trained: dict[int, TrainedMember] = {}
    waiting = list(members)
    ends = _ends(len(members), session)
    while len(trained) < len(members):
        while waiting and session.room():
            member = waiting.pop(0)
            payload = {"target": worker, "job": member.job, "until": ends[member.index], "context": context}
            session.submit(Task("psiflow_cli.worker.training.train:train", payload, note=member, losses=member.losses))
        task, outcome = session.next()
        member = task.note
        if outcome.lost:
            lost([f"member-{member.index}"], outcome.lost)
            if member.goes_on(module, task, outcome, session):
                waiting.append(member)
                continue
        if outcome.lost or outcome.error:
            raise PsiflowError(
                f"training of member {member.index} ended: {outcome.lost or outcome.error}",
                f"its log: {member.folder}; run the same command again to go on from its last checkpoint",
                NO_RESOURCES if outcome.lost else BUG,
            )
        trained[member.index] = outcome.value
    return [trained[i] for i in range(len(members))]


def _ends(count: int, session: Session) -> list[float | None]:
    """When each member has to be done (seconds since 1970): those that must wait for a worker get their share."""
    left = session.remaining() - DELIVERY_S
    if math.isinf(left):
        return [None] * count
    workers = session.executor.workers
    rounds = math.ceil(count / workers)
    return [time.time() + left * (index // workers + 1) / rounds for index in range(count)]
