"""How far the trainings of a committee are, in the journal and on the progress bar."""

from __future__ import annotations

import time
from types import TracebackType

from psiflow_cli.console import Progress
from psiflow_cli.protocols import Model
from psiflow_cli.runtime import journal
from psiflow_cli.runtime.session import Session
from psiflow_cli.stages.core.workspace import Workspace
from psiflow_cli.stages.train.committee import Member


class Watch:
    """Follows the trainers' own files: finished epochs go into the journal and onto the progress bar."""

    EVERY_S = 2.0

    def __init__(
        self, module: Model, workspace: Workspace, members: list[Member], fingerprint: str, epochs: int
    ) -> None:
        """`epochs` are those of each member; those that were finished before are journalled at once."""
        self._module, self._journal, self._fingerprint = module, workspace.run.journal, fingerprint
        self._members = [member.folder for member in members]
        self._seen = [0] * len(members)
        self._cores = workspace.job.executor.cores if workspace.job.executor else 1
        self.session: Session | None = None
        self._last = 0.0
        self._time = time.time()
        self._progress = Progress(epochs * len(members), "epochs", self._look(0.0))

    def __enter__(self) -> Watch:
        self._progress.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.__exit__(kind, error, trace)

    def tick(self, now: bool = False) -> None:
        """Look at most every few seconds."""
        if not now and time.monotonic() - self._last < self.EVERY_S:
            return
        self._last = time.monotonic()
        elapsed = time.time() - self._time
        if new := self._look(elapsed):
            self._time += elapsed
            if self.session:
                self.session.progressed()
            self._progress.update(new)
        self._progress.tick()

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
            name, seconds = f"member-{index}", round(elapsed, 3)
            self._journal.append(
                journal.unit(name, self._fingerprint, True, seconds, self._cores, at=len(epochs), info=new[-1])
            )
        return count
