"""Energies, forces and stress of every frame from a reference method."""

from __future__ import annotations

import contextlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psiflow_cli import extxyz, voigt
from psiflow_cli.console import note
from psiflow_cli.errors import BAD_DATA, BadData, PsiflowError, UsageError
from psiflow_cli.messages import Wire
from psiflow_cli.protocols import HasIdentity, KnowsItsVersion, Locates, Reference, Renders, RunsAs, TriesOut
from psiflow_cli.runtime.request import fingerprint, sha256
from psiflow_cli.runtime.session import Task
from psiflow_cli.stages.core.framewise import Recovery, Work, compute
from psiflow_cli.stages.core.ids import IdSet
from psiflow_cli.stages.core.results import Results, Survey
from psiflow_cli.stages.core.workspace import Job, Workspace
from psiflow_cli.stages.label import reuse
from psiflow_cli.stages.label.estimate import estimate
from psiflow_cli.worker.failures import MACHINE_FAILURES

if TYPE_CHECKING:
    from psiflow_cli.messages import Settings

HOPELESS = 10
"""First frames that fail alike and end the run; more, where more may fail."""
STALE = ("failure", "failure_message", "psiflow_recovery", extxyz.MORE)
LABELS = ("energy", "forces", "stress")


@dataclass(frozen=True)
class Method:
    """A reference with its settings: what decides a label besides the frame."""

    name: str
    """Of a shipped reference, or the path of the user's own file."""
    module: Reference
    settings: Settings
    input_file: str = ""

    @property
    def stem(self) -> str:
        """The reference's short name."""
        return Path(self.name).stem

    @property
    def worker(self) -> str:
        """How a worker finds it: a module's name or a file's path."""
        return str(Path(self.name).absolute()) if self._own else self.module.__name__

    @property
    def _own(self) -> bool:
        return self.name.endswith(".py")

    @property
    def identity(self) -> Settings:
        """The settings as far as they decide a label: where a model lies on the disk does not."""
        return self.module.identity(self.settings) if isinstance(self.module, HasIdentity) else self.settings

    @property
    def runs_as(self) -> tuple[str, str]:
        """The family and the operation by which a site names the executor."""
        return self.module.runs_as(self.settings) if isinstance(self.module, RunsAs) else (self.stem, "label")

    @cached_property
    def fingerprint(self) -> str:
        """What goes into the frames as `psiflow_reference`; a file of the user's own is part of what it is."""
        source = [sha256(Path(self.name))] if self._own else []
        return f"{self.stem}-{fingerprint([self.stem, self.identity, *source])[:12]}"


@dataclass(frozen=True)
class Labelling:
    """Which reference, where failures go, and what is tried again."""

    job: Job
    method: Method
    failed: str
    retry_failed: bool = False
    strict_version: bool = False
    """Labels of another version of the code than the one that runs now are computed anew."""
    recovery: tuple[Recovery, ...] = ()
    allowed: Callable[[int], int] = int
    """How many out of a number of frames may fail."""
    taken_from: tuple[str, ...] = ()
    """Files whose labels are taken over where frame and reference are the same."""

    @property
    def work(self) -> Work:
        return Work(
            function="psiflow_cli.worker.models.label:label",
            payload={"reference": self.method.worker, "settings": self.method.settings},
            fingerprint=self.method.fingerprint,
            inputs=self.method.module.FRAME_INPUTS,
            task_seconds=self.method.module.DEFAULT_TASK_SECONDS,
            verb="labelling",
            recovery=self.recovery,
        )


@dataclass(frozen=True)
class Plan:
    """What a labelling would do, for --dry-run and for the summary."""

    total: int
    distinct: int
    known: int
    todo: int


def survey(labelling: Labelling, workspace: Workspace) -> tuple[Survey, Results, IdSet, Plan]:
    """Check every frame and find out what is still to be computed; nothing is submitted yet."""
    work = labelling.work
    seen = Survey(workspace.frames(), work.inputs, lambda frame: None)
    for said in labelling.method.module.check(labelling.method.settings, seen.elements) or ():
        note(said)
    results = Results(workspace, work.fingerprint, seen.distinct)
    needed = results.needed(labelling.retry_failed)
    distinct = len(seen.distinct)
    plan = Plan(len(seen), distinct, distinct - len(needed), len(needed))
    if needed and not plan.known:
        _try_out(labelling, workspace)
    return seen, results, needed, plan


def _try_out(labelling: Labelling, workspace: Workspace) -> None:
    """Have the code itself read the first frame's input, if tasks run on this machine and it can do so."""
    module, executor = labelling.method.module, workspace.executor
    first = next(workspace.frames(), None)
    if first is None or not isinstance(module, TriesOut) or executor.provider.type != "local":
        return
    if not executor.environment.container:
        with _naming(labelling.method):
            wire = extxyz.message(first, labelling.work.inputs)
            module.try_out(wire, labelling.method.settings, executor.context)


def plan(labelling: Labelling, workspace: Workspace) -> dict[str, Any]:
    """What would be done, at what cost, and the input of the first frame: for --dry-run."""
    seen, _, needed, planned = survey(labelling, workspace)
    found = {**asdict(planned), **estimate(workspace, seen, needed, labelling.method.fingerprint)}
    first, module = next(workspace.frames(), None), labelling.method.module
    if first is not None and isinstance(module, Renders):
        found["input"] = module.render(extxyz.message(first, labelling.work.inputs), labelling.method.settings)
    return found


def run(labelling: Labelling, workspace: Workspace) -> dict[str, Any]:
    """Label every frame; returns the summary, whose `failures` counts frames by class."""
    seen, results, needed, planned = survey(labelling, workspace)
    workspace.run.begin(planned.distinct)
    with workspace.run.guard_end():
        with _naming(labelling.method):
            if labelling.strict_version and planned.known:
                stale = _of_other_versions(labelling, workspace, seen)
                results.forget(stale)
                needed |= stale
            needed -= reuse.take(
                labelling.taken_from, labelling.method.fingerprint, labelling.work.inputs, results, needed
            )
            todo = len(needed)
            work = replace(labelling.work, hopeless=max(HOPELESS, labelling.allowed(planned.total) + 1))
            compute(workspace, work, seen, results, needed)
        _write(labelling, workspace, seen, results)
    failures = Counter(results.failures[k] for k in seen.ids if k in results.failures)
    failed = sum(failures.values())
    return {
        "total": planned.total,
        "labelled": planned.total - failed,
        "computed": todo,
        "failed": failed,
        "failures": dict(failures),
        "reference": labelling.method.fingerprint,
        "output": labelling.job.output,
        "failed_output": labelling.failed if failed else None,
        "retry": any(f in MACHINE_FAILURES for f in failures),
    }


def _of_other_versions(labelling: Labelling, workspace: Workspace, seen: Survey) -> IdSet:
    """The labels that are not of the version of the code which the workers have."""
    if not isinstance(labelling.method.module, KnowsItsVersion):
        raise UsageError(
            f"{labelling.method.name} cannot say its version", "leave --strict-version out, or give it a code()"
        )
    with workspace.session() as session:
        session.submit(Task(f"{labelling.method.worker}:code", {"context": workspace.context()}))
        _, outcome = session.next()
    if outcome.lost or outcome.error:
        raise PsiflowError(f"the version of {labelling.method.name} cannot be told: {outcome.lost or outcome.error}")
    stale = IdSet(seen.distinct)
    for _, unit in workspace.run.units(workspace.run.key(labelling.method.fingerprint)):
        if unit["ok"]:  # the last one of a frame counts
            (stale.add if unit["code"] != outcome.value else stale.discard)(int(unit["id"], 16))
    return stale


@contextlib.contextmanager
def _naming(method: Method) -> Iterator[None]:
    """Put the input's name, and the line where it can be told, before what the code says: a worker knows neither."""
    try:
        yield
    except PsiflowError as error:
        if error.exit_code != BAD_DATA or not method.input_file:
            raise
        module = method.module
        place = (isinstance(module, Locates) and module.locate(method.settings, error.message)) or method.input_file
        raise BadData(f"{place}: {error.message}", error.hint) from None


def _write(labelling: Labelling, workspace: Workspace, seen: Survey, results: Results) -> None:
    """Good frames to the output, failed ones to their own file, which goes when none are left."""
    workspace.publish(_labelled(labelling, workspace, seen.ids, results))
    if not results.failures:
        workspace.run.remove_own(labelling.failed)
        return
    workspace.publish(_failed(labelling, workspace, seen.ids, results), labelling.failed)


def _labelled(labelling: Labelling, workspace: Workspace, ids: array[int], results: Results) -> Iterator[str]:
    replaced = 0
    codes = set()
    for key, frame in zip(ids, workspace.frames(), strict=True):
        if key in results.failures:
            continue
        label = results.of(key)
        codes.add(label["code"])
        replaced += bool(extxyz.label_names(frame))
        yield with_label(frame, key, label, labelling.method.fingerprint)
    if replaced:
        note(f"{replaced} frames came with labels; they are replaced in the output")
    if len(codes) > 1:
        named = " and ".join(sorted(codes))
        note(f"warning: labels of {named} are mixed in the output; --strict-version computes the old ones anew")


def with_label(frame: extxyz.Frame, key: int, label: Wire, reference: str) -> str:
    """The frame's text with a label and where it comes from, in place of what it had."""
    info, arrays = label.get("info", {}), label.get("arrays", {})
    return extxyz.render(
        frame,
        set_info={
            "energy": label["energy"],
            **({"stress": voigt.to_matrix(label["stress"])} if label["stress"] else {}),
            "psiflow_id": f"{key:016x}",
            "psiflow_reference": reference,
            "psiflow_code": label["code"],
            **({"psiflow_recovery": label["recovery"]} if "recovery" in label else {}),
            **({extxyz.MORE: " ".join([*info, *arrays])} if info or arrays else {}),
            **info,
        },
        set_columns={"forces": ("R", label["forces"]), **{name: ("R", values) for name, values in arrays.items()}},
        drop=tuple(
            name
            for name in (*extxyz.label_names(frame), *STALE)
            if (name not in LABELS or label.get(name) is None) and name not in (*info, *arrays)
        ),
    )


def _failed(labelling: Labelling, workspace: Workspace, ids: array[int], results: Results) -> Iterator[str]:
    for key, frame in zip(ids, workspace.frames(), strict=True):
        if key in results.failures:
            yield with_failure(frame, key, results.of(key), labelling.method.fingerprint)


def with_failure(frame: extxyz.Frame, key: int, result: Wire, reference: str) -> str:
    """The frame's text with why it has no label."""
    return extxyz.render(
        frame,
        set_info={
            "psiflow_id": f"{key:016x}",
            "psiflow_reference": reference,
            "failure": result["failure"],
            "failure_message": result["message"],
        },
        drop=extxyz.label_names(frame),
    )
