"""The members of a committee in training: each is a task of its own, with its share of the time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli.console import detail, note
from psiflow_cli.errors import BUG, NO_RESOURCES, PsiflowError, counted
from psiflow_cli.protocols import Delivers, Model
from psiflow_cli.runtime.session import Session
from psiflow_cli.runtime.task import Loss, Outcome, Task
from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.training import stop_request

if TYPE_CHECKING:
    from psiflow_cli.messages import Context, TrainedMember, TrainingJob

DELIVERY_S = 10.0  # what is kept of the time to the deadline for making the bundle
GRACE_S = 180.0
"""How long stopped trainings may take to make models of their best checkpoints, which is some 10 s of a processor: many
times as long on a machine with more to do than it has cores."""


@dataclass
class Member:
    """One training, and how often in a row its worker was lost before it finished an epoch."""

    index: int
    folder: Path
    job: TrainingJob
    tries: int = 0
    losses: list[Loss] = field(default_factory=list)
    epochs: int = 0

    def goes_on(self, module: Model, task: Task, outcome: Outcome, session: Session) -> bool:
        """Whether a lost training is to be tried again; every finished epoch starts the count again."""
        epochs = len(module.progress(self.folder))
        if epochs > self.epochs:
            self.epochs, self.tries, task.losses = epochs, 0, task.losses[-1:]
        self.losses = task.losses
        self.tries += outcome.blame
        return self.tries <= session.executor.retries("worker-lost")


@dataclass
class Committee:
    """Trainings, and what the trainer says of those that have ended, by index."""

    members: list[Member]
    module: Model
    worker: str
    session: Session
    context: Context
    trained: dict[int, TrainedMember] = field(default_factory=dict)

    def train(self, lost: Callable[[list[str], str], None]) -> None:
        """Train all members; one that is lost with its worker goes on from its checkpoint."""
        waiting = list(self.members)
        ends = self._ends()
        detail(self._description())
        for member in waiting:
            stop_request.prepare(member.folder)
        while len(self.trained) < len(self.members):
            while waiting and self.session.room():
                member = waiting.pop(0)
                self._submit(member, ends[member.index])
            task, outcome = self.session.next()
            member = task.note
            if outcome.lost:
                lost([f"member-{member.index}"], outcome.lost)
                if member.goes_on(self.module, task, outcome, self.session):
                    waiting.append(member)
                    continue
            if outcome.lost or outcome.error:
                log = outcome.log or member.folder
                raise PsiflowError(
                    f"training of member {member.index} ended: {outcome.lost or outcome.error}",
                    f"logs: {log}; run the same command again to continue from its last checkpoint",
                    NO_RESOURCES if outcome.lost else BUG,
                )
            self.trained[member.index] = outcome.value

    def _submit(self, member: Member, until: float | None) -> None:
        payload = {"module": self.worker, "job": member.job, "until": until, "context": self.context}
        train = "psiflow_cli.worker.training.train:train"
        self.session.submit(Task(train, payload, note=member, losses=member.losses))

    def _description(self) -> str:
        """How many are trained at once, and on what."""
        count, workers, context = len(self.members), self.session.executor.workers, self.session.executor.context
        on = counted(context["gpus"], "GPU") if context["gpus"] else counted(context["threads"], "thread")
        return f"training {counted(count, 'model')}, {min(count, workers)} at a time, each on {on}"

    def _ends(self) -> list[float | None]:
        """When each has to be done (seconds since 1970): those that must wait for a worker get their share."""
        count = len(self.members)
        remaining = self.session.remaining() - DELIVERY_S
        if math.isinf(remaining):
            return [None] * count
        workers = self.session.executor.workers
        rounds = math.ceil(count / workers)
        return [time.time() + remaining * (index // workers + 1) / rounds for index in range(count)]

    def stop(self) -> None:
        """After an error: let `trained` have the best model so far of each member that has one, within `GRACE_S`.

        What lies ready is taken at once. Otherwise the trainings are asked to stop, and those that do not run any more
        are begun again under that request, for them to make a model of their best checkpoint.
        """
        if not isinstance(self.module, Delivers):
            return
        self._take(self.module)
        if not self._missing():
            return
        note(f"making a model of the best checkpoint (at most {GRACE_S:.0f} s); stop again to quit immediately")
        self.session.wind_up(GRACE_S)
        for member in self.members:
            stop_request.ask(member.folder)
        with suppress(PsiflowError):
            self._wait()
            for member in self._missing():
                self._submit(member, None)
            self._wait()
        self._take(self.module, latest=False)
        self.session.wind_up(0.0)

    def _missing(self) -> list[Member]:
        """Those without a model although they have finished an epoch."""
        rest = [member for member in self.members if member.index not in self.trained]
        return [member for member in rest if self.module.progress(member.folder)]

    def _take(self, module: Delivers, latest: bool = True) -> None:
        for member in self._missing():
            with suppress(Fatal, OSError):
                if delivered := module.delivered(member.folder, latest):
                    self.trained[member.index] = delivered

    def _wait(self) -> None:
        """Until no task is left; raises PsiflowError where the time is up, or no worker is there any more."""
        while pending := self.session.pending:
            try:
                task, outcome = self.session.next()
            except PsiflowError:
                if self.session.pending == pending:
                    raise
                continue  # a task that could not deliver
            if outcome.value:
                self.trained[task.note.index] = outcome.value
