"""Energies, forces and stress of every frame from a reference method."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, TypedDict

from psiflow_cli import extxyz
from psiflow_cli.console import note
from psiflow_cli.errors import BadData, UsageError
from psiflow_cli.protocols import KnowsItsVersion, Renders, TriesOut
from psiflow_cli.stages.core import failed_frames, single
from psiflow_cli.stages.core.framewise import Recovery, Work, compute
from psiflow_cli.stages.core.ids import IdSet
from psiflow_cli.stages.core.results import Results, Survey
from psiflow_cli.stages.core.workspace import Job, Workspace
from psiflow_cli.stages.label import output
from psiflow_cli.stages.label.estimate import estimate
from psiflow_cli.stages.label.first_pass import FirstPass
from psiflow_cli.stages.label.method import Method, naming
from psiflow_cli.stages.label.reuse import Reuse, hand_on
from psiflow_cli.stages.label.subtraction import Subtraction

if TYPE_CHECKING:
    from psiflow_cli.messages import Settings

HOPELESS = 10  # first frames that fail alike and end the run; more, where more may fail


@dataclass(frozen=True)
class Labelling:
    """Which reference, where failures go, and what is tried again."""

    job: Job
    method: Method
    failed: str
    retry_failed: bool = False
    strict_version: bool = False
    """Labels of another version of the code than the one that runs now are computed again."""
    recovery: tuple[Recovery, ...] = ()
    allowed: Callable[[int], int] = int  # how many out of a number of frames may fail
    subtraction: Subtraction | None = None
    taken_from: tuple[str, ...] = ()
    """Files whose labels are taken over where frame and reference are the same."""

    @property
    def work(self) -> Work:
        return Work(
            function="psiflow_cli.worker.models.label:label",
            payload={"reference": self.method.worker, "settings": self.method.settings},
            fingerprint=self.method.fingerprint, inputs=self.method.frame_inputs,
            task_seconds=self.method.module.DEFAULT_TASK_SECONDS, verb="labelling", recovery=self.recovery,
        )  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What a labelling would do, for --dry-run and for the summary."""

    total: int
    distinct: int
    known: int
    todo: int


class LabelSummary(TypedDict):
    total: int
    labelled: int
    computed: int  # in this invocation
    failed: int
    failures: dict[str, int]  # how many failed, by class
    failed_hint: str  # why the first frame of each class failed
    reference: str  # its fingerprint
    output: str
    failed_output: str | None
    retry: bool  # something failed for the machine's reasons


def survey(
    labelling: Labelling, workspace: Workspace, see: Callable[[extxyz.Frame], None] = lambda frame: None
) -> tuple[Survey, Results, IdSet, Plan, Settings]:
    """Check every frame and find out what is still to be computed; nothing is submitted yet.

    The last one is what all frames decide together, for the workers.
    """
    work = labelling.work
    subtract = labelling.subtraction.see if labelling.subtraction else None

    def look(frame: extxyz.Frame) -> None:
        see(frame)
        if subtract:
            subtract(frame)

    first_pass = FirstPass(labelling.method, look)
    surveyed = Survey(workspace.frames(), work.inputs, first_pass.see)
    with naming(labelling.method):
        for advice in (
            *(labelling.method.module.check(labelling.method.settings, surveyed.elements) or ()),
            *first_pass.notes(),
        ):
            note(advice)
    results = Results(workspace, work.fingerprint, surveyed.distinct)
    needed = results.needed(labelling.retry_failed)
    distinct = len(surveyed.distinct)
    plan = Plan(len(surveyed), distinct, distinct - len(needed), len(needed))
    if needed and not plan.known:
        _try_out(labelling, workspace)
    return surveyed, results, needed, plan, first_pass.decided()


def _try_out(labelling: Labelling, workspace: Workspace) -> None:
    """Have the code itself read the first frame's input, if tasks run on this machine and it can do so."""
    module, executor = labelling.method.module, workspace.executor
    first = next(workspace.frames(), None)
    if first is None or not isinstance(module, TriesOut) or executor.provider.type != "local":
        return
    if not executor.environment.container:
        with naming(labelling.method):
            message = extxyz.message(first, labelling.work.inputs)
            module.try_out(message, labelling.method.settings, executor.context)


def _reuse(labelling: Labelling, workspace: Workspace) -> Reuse:
    """What finds labels that are there: in files to take them from, and in what an earlier invocation wrote.

    The journal knows a frame only by its exact numbers. What passed through another program since is in the output.
    """
    own = str(workspace.output)
    has_frames = os.path.exists(own) and os.path.getsize(own) > 0  # there are none where every frame failed
    again = labelling.job.overwrite or labelling.strict_version or not workspace.executor.run.cache
    there = has_frames and not again
    files = labelling.taken_from, own if there else None
    return Reuse(labelling.method.fingerprint, labelling.work.inputs, *files, workspace.read)


def plan(labelling: Labelling, workspace: Workspace) -> dict[str, object]:
    """What would be done, at what cost, and the input of the first frame: for --dry-run."""
    reuse = _reuse(labelling, workspace)
    surveyed, results, needed, planned, decided = survey(labelling, workspace, reuse.see)
    reuse.take(surveyed.ids, needed, None)
    reuse.copies(surveyed.ids, needed, results)
    planned = replace(planned, known=planned.distinct - len(needed), todo=len(needed))
    summary = asdict(planned) | estimate(workspace, surveyed, needed, labelling.method.fingerprint)
    first, module = next(workspace.frames(), None), labelling.method.module
    if first is not None and isinstance(module, Renders):
        settings = {**labelling.method.settings, **decided}
        try:
            summary["input"] = module.render(extxyz.message(first, labelling.work.inputs), settings)
        except ValueError as error:
            raise BadData(f"the first frame: {error}") from None
    return summary


def run(labelling: Labelling, workspace: Workspace) -> LabelSummary:
    reuse = _reuse(labelling, workspace)
    surveyed, results, needed, planned, decided = survey(labelling, workspace, reuse.see)
    workspace.run.begin(planned.distinct)
    with workspace.run.guard_end():
        with naming(labelling.method):
            if labelling.strict_version and planned.known:
                stale = _of_other_versions(labelling, workspace, surveyed)
                results.forget(stale)
                needed |= stale
            reuse.take(surveyed.ids, needed, results)
            copies = reuse.copies(surveyed.ids, needed, results)
            todo = len(needed)
            hopeless = max(HOPELESS, labelling.allowed(planned.total) + 1)
            payload = {**labelling.work.payload, **({"decided": decided} if decided else {})}
            work = replace(labelling.work, payload=payload, hopeless=hopeless)
            compute(workspace, work, surveyed, results, needed)
            hand_on(copies, results)
        output.write(
            workspace, surveyed.ids, results, labelling.method.fingerprint, labelling.failed, labelling.subtraction
        )
    summary = failed_frames.summary(surveyed, results)
    return {
        "total": summary["total"], "labelled": summary["total"] - summary["failed"], "computed": todo,
        "failed": summary["failed"], "failures": summary["failures"], "failed_hint": summary["failed_hint"],
        "reference": labelling.method.fingerprint, "output": labelling.job.output,
        "failed_output": labelling.failed if summary["failed"] else None,
        "retry": failed_frames.machine_failed(summary),
    }  # fmt: skip


def _of_other_versions(labelling: Labelling, workspace: Workspace, surveyed: Survey) -> IdSet:
    """The labels that are not of the version of the code which the workers have."""
    if not isinstance(labelling.method.module, KnowsItsVersion):
        problem = f"{labelling.method.name} does not report its version"
        raise UsageError(problem, "leave out --strict-version, or add a function code() to the reference")
    with workspace.session() as session:
        name, payload = f"the version of {labelling.method.name}", {"context": workspace.context()}
        version = single.perform(workspace, session, f"{labelling.method.worker}:code", payload, name, journal=False)
    stale = IdSet(surveyed.distinct)
    for _, unit in workspace.run.units(workspace.run.key(labelling.method.fingerprint)):
        if unit["ok"]:  # the last one of a frame counts
            (stale.add if unit["code"] != version else stale.discard)(int(unit["id"], 16))
    return stale
