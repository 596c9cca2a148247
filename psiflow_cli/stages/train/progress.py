"""How far the trainings of a committee are: in the journal, on the progress line, and as errors when they are done."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

from psiflow_cli.console import Progress, detail
from psiflow_cli.protocols import Model
from psiflow_cli.runtime import journal
from psiflow_cli.runtime.session import Session
from psiflow_cli.stages.core.workspace import Workspace
from psiflow_cli.stages.train import epoch_text
from psiflow_cli.stages.train.committee import Member
from psiflow_cli.worker.training import phase

if TYPE_CHECKING:
    from psiflow_cli.messages import Epoch


class Watch:
    """Follows the trainers' own files: finished epochs go into the journal and onto the progress line."""

    EVERY_S = 2.0

    def __init__(
        self, module: Model, workspace: Workspace, members: list[Member], fingerprint: str, epochs: int
    ) -> None:
        """`epochs` are those of each member; those that were finished before are journalled at once."""
        self._module, self._journal, self._fingerprint = module, workspace.run.journal, fingerprint
        self._members = [member.folder for member in members]
        self._seen = [0] * len(members)
        self._phases = [""] * len(members)
        self._latest = 0  # the member that got on last
        self._epochs: list[Epoch] = [{} for _ in members]  # the last one of each
        self._moved = False  # whether an epoch was finished in this run
        self._cores = workspace.job.executor.cores if workspace.job.executor else 1
        self.session: Session | None = None
        self._last = 0.0
        self._time = time.time()
        for folder in self._members:
            phase.forget(folder)  # of an earlier run
        self._progress = Progress(epochs * len(members), "epoch" if len(members) == 1 else "epochs", self._look(0.0))
        self._describe()

    def __enter__(self) -> Watch:
        self._progress.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.__exit__(kind, error, trace)

    def tick(self, now: bool = False) -> None:
        """Look at most every few seconds."""
        if now or time.monotonic() - self._last >= self.EVERY_S:
            self._last = time.monotonic()
            self._follow()
        self._progress.tick()

    def _follow(self) -> None:
        now = time.time()
        elapsed = now - self._time
        new = self._look(elapsed)
        self._moved = self._moved or new > 0
        for index, folder in enumerate(self._members):
            if (step := phase.read(folder)) != self._phases[index]:
                self._phases[index], self._latest = step, index
                if step == "training" and not self._moved:
                    self._progress.start()
                    self._time = now  # the first epoch takes no time in the queue
                detail(f"member {index}: {step}")
        self._describe()
        if new:
            self._time = now
            if self.session:
                self.session.progressed()
            self._progress.update(new)

    def _describe(self) -> None:
        """What the progress line says besides the count: of the member that got on last."""
        now = self._phases[self._latest] or ("training" if self._moved else "starting")
        waits = self.session.waits() if self.session and now == "starting" else []
        about = epoch_text.parts(self._epochs[self._latest])
        self._progress.is_waiting = bool(waits)
        name = [f"member {self._latest}"] if len(self._members) > 1 and now != "starting" else []
        self._progress.details = [*name, *about] if now == "training" and about else [now, *waits, *name, *about]

    def _look(self, elapsed: float) -> int:
        """Journal the epochs that are new, which took `elapsed` seconds; returns how many there are."""
        count = 0
        for index, folder in enumerate(self._members):
            epochs = self._module.progress(folder)
            new = epochs[self._seen[index] :]
            if not new:
                continue
            count += len(new)
            self._seen[index] = len(epochs)
            # the errors stay those of the last epoch that was validated
            self._latest, self._epochs[index] = index, {**self._epochs[index], **new[-1]}
            name, seconds = f"member-{index}", round(elapsed, 3)
            self._journal.append(
                journal.unit(name, self._fingerprint, True, seconds, self._cores, at=len(epochs), info=new[-1])
            )
        return count
