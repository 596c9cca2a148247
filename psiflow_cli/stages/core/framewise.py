"""A worker's function over every frame: each distinct frame once, each result journalled.

Frames are grouped so that a task takes about as long as the back end asks for; a group that is lost with its worker is
tried again frame by frame, so that only the guilty one suffers.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from psiflow_cli import extxyz
from psiflow_cli.console import Progress, detail, note
from psiflow_cli.errors import BAD_DATA, NO_RESOURCES, PsiflowError, counted
from psiflow_cli.runtime.session import Session
from psiflow_cli.runtime.task import Loss, Outcome, Task
from psiflow_cli.site.executor import ResolvedExecutor
from psiflow_cli.stages.core import resubmission
from psiflow_cli.stages.core.ids import IdSet
from psiflow_cli.stages.core.results import Results, Survey
from psiflow_cli.stages.core.workspace import Workspace
from psiflow_cli.worker.failures import MACHINE_FAILURES, failure

if TYPE_CHECKING:
    from psiflow_cli.messages import Failure, FailureClass, Frame

    Result = dict[str, object]
    """What the worker returns for a frame: the numbers, or a `messages.Failure`."""

_MOST_FRAMES = 512


@dataclass(frozen=True)
class Recovery:
    """What the user wants tried with a frame whose SCF did not converge."""

    change: str  # in the user's words; it goes into the frame
    payload: Mapping[str, object]  # what it changes in the work's own payload


@dataclass(frozen=True)
class Work:
    function: str
    """`module:function` of the worker, called with `frames`, `context` and `payload`; returns a result for each."""
    payload: Mapping[str, object]
    fingerprint: str  # of all that decides a result besides the frame
    inputs: tuple[str, ...] = ()  # what is read from a frame besides its structure
    message: Callable[[extxyz.Frame, tuple[str, ...]], Frame] = extxyz.message
    """The frame as the worker gets it; its result is kept under its `id`."""
    task_seconds: float = 1.0  # how long one task should take; 0: one frame a task
    verb: str = "frames"
    recovery: tuple[Recovery, ...] = ()  # tried one after the other
    elements: list[str] | None = None
    """Those that a model knows: frames with others fail before any worker is asked for; None: whatever there is."""
    hopeless: int = 0
    """So many frames that all fail alike, before any succeeds, end the run; 0: none do."""


def compute(workspace: Workspace, work: Work, survey: Survey, results: Results, needed: IdSet) -> None:
    """Run the worker on every frame in `needed`, and journal what comes back.

    Frames that took too much memory are tried once more on the executor that the site names for them.
    """
    executor = workspace.executor
    needed = _describable(workspace, work, survey, results, needed)
    _compute(workspace, work, survey, results, needed, executor)
    if executor.on_oom:
        large = IdSet(survey.distinct, (k for k in needed if results.failures.get(k) == "out-of-memory"))
        if large:
            note(
                f"{counted(len(large), 'frame')} ran out of memory; trying them on the executor {executor.on_oom.label}"
            )
            _compute(workspace, work, survey, results, large, executor.on_oom)


def _describable(workspace: Workspace, work: Work, survey: Survey, results: Results, needed: IdSet) -> IdSet:
    """Journal the frames with elements that the model does not know as failures; returns the others."""
    if not needed or work.elements is None or survey.elements <= set(work.elements):
        return needed
    needed = needed.copy()
    with results.together():
        for key, frame in zip(survey.ids, workspace.frames(), strict=True):
            unknown = set(frame.symbols) - set(work.elements)
            if unknown and key in needed:
                problem = failure("invalid-input", f"the model does not know {', '.join(sorted(unknown))}")
                results.add([work.message(frame, work.inputs)["id"]], [dict(problem)], 0.0, workspace.executor.cores)
                needed.discard(key)
    return needed


def _compute(
    workspace: Workspace, work: Work, survey: Survey, results: Results, needed: IdSet, executor: ResolvedExecutor
) -> None:
    total = len(survey.distinct)
    detail(f"{len(needed)} of {total} structures to compute; the others are already in the journal")
    if not needed:
        return
    hope = _EarlyStop(work.hopeless)

    with (
        Progress(total, work.verb, total - len(needed)) as progress,
        workspace.watched_session(progress, executor) as session,
    ):
        feeder = _Feeder(workspace, work, survey, needed, session)
        while True:
            while session.room() and (task := feeder.next()):
                session.submit(task)
            if not session.pending:
                return
            with results.together():
                for task, outcome in session.batch():
                    ids = [frame["id"] for frame in _frames(task)]
                    if outcome.lost:
                        workspace.run.note_lost(ids, outcome.lost)
                    done = feeder.judge(task, outcome)
                    if done is None:
                        continue
                    feeder.learn(len(ids), outcome.seconds)
                    final = feeder.resubmit(task, done)
                    if final:
                        results.add([ids[i] for i in final], [done[i] for i in final], outcome.seconds, executor.cores)
                        progress.update(len(final), sum("failure" in done[i] for i in final), outcome.seconds)
                        hope.see([done[i] for i in final])


def _frames(task: Task) -> list[Frame]:
    return cast("list[Frame]", task.payload["frames"])


class _EarlyStop:
    """Ends a run whose first frames all fail alike: the rest would, too."""

    def __init__(self, enough: int) -> None:
        self._enough = enough
        self._count = 0
        self._like: tuple[str, str] | None = None
        self._log = ""  # of the last failure that has one

    def see(self, results: list[Result]) -> None:
        """Note results; raises PsiflowError when there have been enough failures and nothing else."""
        for result in results:
            like = (str(result.get("failure", "")), str(result.get("message", "")))
            if not like[0] or like != (self._like or like):
                self._enough = 0
            self._like = like
            self._log = str(result.get("log") or self._log)
            self._count += 1
        if self._enough and self._count >= self._enough:
            kind, message = self._like or ("", "")
            problem = f"stopped: the first {self._count} frames all failed in the same way: {kind}: {message}"
            hint = (
                "fix the cause, or run the command again to continue with the other frames; set the number of allowed "
                "failures with --max-failed"
            )
            hint += f"; log: {self._log}" if self._log else ""
            raise PsiflowError(problem, hint, NO_RESOURCES if kind in MACHINE_FAILURES else BAD_DATA)


class _Feeder:
    """Makes tasks from the frames still needed, sized by how long earlier ones took."""

    def __init__(self, workspace: Workspace, work: Work, survey: Survey, needed: IdSet, session: Session) -> None:
        self._work = work
        self._context = workspace.context(session.executor)
        self._again: list[Task] = []
        self._left = len(needed)
        self._session = session
        self._size = 1
        self._frames = self._messages(workspace, survey, needed.copy())

    def _messages(self, workspace: Workspace, survey: Survey, needed: IdSet) -> Iterator[Frame]:
        for key, frame in zip(survey.ids, workspace.frames(), strict=True):
            if key in needed:
                needed.discard(key)  # a structure that comes twice is computed once
                yield self._work.message(frame, self._work.inputs)

    def next(self) -> Task | None:
        if self._again:
            return self._again.pop()
        share = -(-self._left // (2 * self._session.executor.workers))
        frames = list(itertools.islice(self._frames, max(1, min(self._size, share))))
        self._left -= len(frames)
        return self._task(frames) if frames else None

    def _task(self, frames: list[Frame], tries: int = 1, losses: Sequence[Loss] = (), step: int = 0) -> Task:
        """A task; `step` counts the recoveries that its frames have needed."""
        work = self._work
        payload = {**work.payload, **(work.recovery[step - 1].payload if step else {})}
        return Task(
            work.function, {"frames": frames, "context": self._context, **payload}, note=step, tries=tries,
            losses=list(losses), units=len(frames),
            hang_log=os.path.join(self._context["logs"], f"{frames[0]['id']}.hang"),
        )  # fmt: skip

    def learn(self, frames: int, seconds: float) -> None:
        """Fit the size of the next tasks to the time the last one took; grow slowly, shrink at once."""
        if self._work.task_seconds:
            fits = int(self._work.task_seconds * frames / max(seconds, 1e-6))
            self._size = max(1, min(fits, 4 * self._size, _MOST_FRAMES))

    def judge(self, task: Task, outcome: Outcome) -> list[Result] | None:
        """A result for each frame of a task, or None if its frames were queued again."""
        frames = _frames(task)
        if not outcome.lost and not outcome.error:
            results: list[Result] = outcome.value
            if len(results) == len(frames):
                return results
            outcome.error = f"{counted(len(frames), 'frame')} sent, but {len(results)} results came back"
        if len(frames) > 1:
            self._again += [self._task([frame], losses=task.losses, step=task.note) for frame in frames]
            return None
        again = resubmission.after_loss(task, outcome, self._session.executor) if outcome.lost else None
        if again and not outcome.hung:
            self._again.append(again)
            return None
        return [dict(_failure(task, outcome))]

    def resubmit(self, task: Task, results: list[Result]) -> list[int]:
        """Queue again the frames that user or site want tried again; returns the places of all others."""
        final = []
        step, steps = task.note, self._work.recovery
        for place, (frame, result) in enumerate(zip(_frames(task), results, strict=True)):
            kind = cast("FailureClass | None", result.get("failure"))
            if kind == "unconverged" and step < len(steps):
                self._again.append(self._task([frame], step=step + 1))
            elif kind and resubmission.has_try_left(task, kind, self._session.executor):
                self._again.append(self._task([frame], task.tries + 1, step=step))
            else:
                final.append(place)
                if step:
                    result["recovery"] = steps[step - 1].change
        return final


def _failure(task: Task, outcome: Outcome) -> Failure:
    """Why a task of one frame has no result."""
    if outcome.hung:
        return failure("timeout", outcome.lost, task.hang_log)
    if outcome.lost:
        return failure("worker-lost", f"{outcome.lost} ({task.tries} times)")
    return failure("out-of-memory" if outcome.error == "out of memory" else "crashed", outcome.error, outcome.log)
