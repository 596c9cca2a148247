"""A worker's function over every frame: each distinct frame once, each result journalled, order kept.

Frames are grouped so that a task takes about as long as the back end asks for; a group that is lost with its worker is
tried again frame by frame, so that only the guilty one suffers.
"""

from __future__ import annotations

import itertools
import time
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from psiflow_cli import extxyz
from psiflow_cli.console import Progress
from psiflow_cli.runtime.session import Outcome, Session, Task
from psiflow_cli.seams import Wire
from psiflow_cli.stages.workspace import Workspace
from psiflow_cli.worker.guard import MACHINE_FAILURES, failure

_MOST_FRAMES = 512


@dataclass(frozen=True)
class Work:
    """What is done to each frame."""

    target: str
    """`module:function` of the worker, called with `frames`, `context` and `payload`; returns a result for each."""
    payload: Wire
    of: str
    """Fingerprint of all that decides a result besides the frame."""
    inputs: tuple[str, ...] = ()
    """What is read from a frame besides its structure."""
    task_seconds: float = 1.0
    """How long one task should take; 0: one frame a task."""
    verb: str = "frames"


class Survey:
    """The first pass over the inputs: every frame checked and hashed, in 8 bytes a frame."""

    def __init__(
        self, frames: Iterator[extxyz.Frame], inputs: tuple[str, ...], see: Callable[[extxyz.Frame], None]
    ) -> None:
        self.ids = array("Q")
        self.elements: set[str] = set()
        for frame in frames:
            see(frame)
            self.elements.update(frame.symbols)
            self.ids.append(int(extxyz.frame_id(frame, inputs), 16))

    def __len__(self) -> int:
        return len(self.ids)


class Results:
    """Where each frame's result stands in the journal."""

    def __init__(self, space: Workspace, work: Work) -> None:
        self._run = space.run
        self._of = space.run.key(work.of)
        self.offsets: dict[int, int] = {}
        self.failures: dict[int, str] = {}
        for offset, unit in space.run.units(self._of):
            self._note(unit, offset)

    def _note(self, unit: dict[str, Any], offset: int) -> None:
        key = int(unit["id"], 16)
        self.offsets[key] = offset
        if unit["ok"]:
            self.failures.pop(key, None)
        else:
            self.failures[key] = unit["failure"]

    def add(self, frames: list[Wire], results: list[Wire], seconds: float, cores: int) -> None:
        """Journal a task's results: one write, one wait for the disk."""
        now, each = round(time.time(), 3), round(seconds / len(frames), 6)
        units = []
        for frame, result in zip(frames, results, strict=True):
            kind = result.get("failure")
            outcome = {"failure": kind} if kind else {"code": result.get("code", "")}
            head = {
                "kind": "unit",
                "id": frame["id"],
                "of": self._of,
                "ok": not kind,
                "t": now,
                "s": each,
                "cores": cores,
            }
            units.append({**head, **outcome, "value": result})
        for unit, offset in zip(units, self._run.journal.append(*units), strict=True):
            self._note(unit, offset)

    def forget(self, keys: set[int]) -> None:
        """Take results for not there."""
        for key in keys:
            self.offsets.pop(key, None)

    def of(self, key: int) -> Wire:
        """The result of a frame."""
        value: Wire = self._run.journal.value(self.offsets[key])
        return value

    def needed(self, keys: array[int], retry_failed: bool) -> set[int]:
        """The frames that have no result yet, or a failure that is to be tried again."""
        return {
            k for k in keys
            if k not in self.offsets
            or (k in self.failures and (retry_failed or self.failures[k] in MACHINE_FAILURES))
        }  # fmt: skip


def compute(space: Workspace, work: Work, survey: Survey, results: Results, needed: set[int]) -> None:
    """Run the worker on every frame in `needed`, and journal what comes back."""
    if not needed:
        return
    total = len(set(survey.ids))
    with Progress(total, work.verb, total - len(needed)) as progress, space.session(progress.tick) as session:
        feeder = _Feeder(space, work, survey, needed, session)
        while True:
            while session.room() and (task := feeder.next()):
                session.submit(task)
            if not session.pending:
                return
            task, outcome = session.next()
            frames: list[Wire] = task.payload["frames"]
            if outcome.lost:
                space.run.note_lost([frame["id"] for frame in frames], outcome.lost)
            done = _judge(task, outcome, feeder, len(frames))
            if done is None:
                continue
            feeder.learn(len(frames), outcome.seconds)
            kept = feeder.retry(task, done)
            if kept:
                results.add([frames[i] for i in kept], [done[i] for i in kept], outcome.seconds, session.target.cores)
                progress.update(len(kept), sum("failure" in done[i] for i in kept))


class _Feeder:
    """Makes tasks from the frames still needed, sized by how long earlier ones took."""

    def __init__(self, space: Workspace, work: Work, survey: Survey, needed: set[int], session: Session) -> None:
        self._work = work
        self._context = space.context()
        self._again: list[Task] = []
        self._left = len(needed)
        self._session = session
        self.target = session.target
        self._size = 1
        self._frames = self._wires(space, survey, set(needed))

    def _wires(self, space: Workspace, survey: Survey, needed: set[int]) -> Iterator[Wire]:
        for key, frame in zip(survey.ids, space.frames(), strict=True):
            if key in needed:
                needed.discard(key)  # a structure that comes twice is computed once
                yield extxyz.wire(frame, self._work.inputs)

    def next(self) -> Task | None:
        """The next task, or None if nothing is left to submit."""
        if self._again:
            return self._again.pop()
        share = -(-self._left // (2 * self._session.target.workers))
        frames = list(itertools.islice(self._frames, max(1, min(self._size, share))))
        self._left -= len(frames)
        return self._task(frames) if frames else None

    def _task(self, frames: list[Wire], tries: int = 1, losses: int = 0) -> Task:
        payload = {"frames": frames, "context": self._context, **self._work.payload}
        return Task(self._work.target, payload, tries=tries, losses=losses)

    def learn(self, frames: int, seconds: float) -> None:
        """Fit the size of the next tasks to the time the last one took; grow slowly, shrink at once."""
        if self._work.task_seconds:
            fits = int(self._work.task_seconds * frames / max(seconds, 1e-6))
            self._size = max(1, min(fits, 4 * self._size, _MOST_FRAMES))

    def singly(self, task: Task, tries: int) -> None:
        """Queue a task's frames again, each on its own."""
        self._again += [self._task([frame], tries, task.losses) for frame in task.payload["frames"]]

    def retry(self, task: Task, done: list[Wire]) -> list[int]:
        """Queue again the frames whose failure the site wants tried again; returns the places of all others."""
        kept = []
        for place, (frame, result) in enumerate(zip(task.payload["frames"], done, strict=True)):
            if task.tries <= self.target.retries(result.get("failure", "")):
                self._again.append(self._task([frame], task.tries + 1))
            else:
                kept.append(place)
        return kept


def _judge(task: Task, outcome: Outcome, feeder: _Feeder, count: int) -> list[Wire] | None:
    """A result for each frame of a task, or None if its frames were queued again."""
    if not outcome.lost and not outcome.error:
        value: list[Wire] = outcome.value
        if len(value) == count:
            return value
        outcome.error = f"{count} frames went out and {len(value)} results came back"
    if count > 1:
        feeder.singly(task, 1)
        return None
    if outcome.lost:
        if task.tries <= feeder.target.retries("worker-lost") or not outcome.blame:
            feeder.singly(task, task.tries + outcome.blame)
            return None
        return [failure("worker-lost", f"{outcome.lost} ({task.tries} times)")]
    if outcome.error == "out of memory":
        return [failure("out-of-memory", outcome.error)]
    return [failure("crashed", outcome.error)]
