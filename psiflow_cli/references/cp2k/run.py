"""CP2K on frames, in a worker: run, judged by its log, and its numbers converted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psiflow_cli import voigt
from psiflow_cli.errors import BAD_DATA
from psiflow_cli.references.cp2k import complaint, installation, output, properties, shell, template
from psiflow_cli.references.cp2k.single_point import build, cube
from psiflow_cli.references.cp2k.structure.periodicity import Impossible
from psiflow_cli.worker.failures import AGAIN, Fatal, failure
from psiflow_cli.worker.process import environment_modules, launcher, single_run, subprocesses
from psiflow_cli.worker.process.task_logs import TaskLog
from psiflow_cli.worker.structures import labels, validity

if TYPE_CHECKING:
    from psiflow_cli.messages import Context, Frame, LabelResult
    from psiflow_cli.references.cp2k.template import Settings

_without_stress: set[str] = set()
"""Templates that do not ask for a stress, for whose methods CP2K has none."""


class _NoStress(Exception):
    """CP2K has no stress for this method."""


def label(frames: list[Frame], settings: Settings, context: Context) -> list[LabelResult]:
    """*worker*: a label or a failure for each frame, in order."""
    return [_label(frame, settings, context) for frame in frames]


def code(context: Context) -> str:
    """*worker*: the code and its version, as labels carry it."""
    return single_run.version(installation.PROGRAM, ["--version"], {}, context, output.VERSION)


@dataclass(frozen=True)
class _Task:
    """One frame's input, and what goes with it."""

    frame: Frame
    text: str
    files: dict[str, str]
    stress: bool
    """Whether the input asks for one."""
    log: TaskLog
    cube: float | None
    """Å: the edge of the box that we made, if neither the frame nor the template has one."""


def _label(frame: Frame, settings: Settings, context: Context) -> LabelResult:
    reason = validity.invalid(frame)
    if reason:
        return failure("invalid-input", reason)
    try:
        text, stress = build(frame, settings, settings["template"] not in _without_stress)
    except Impossible as error:
        return failure("invalid-input", str(error))
    task = _Task(frame, text, settings["files"], stress, TaskLog.of_frame(frame, text, context), cube(frame, settings))
    group = shell.group(frame, text, settings.get("reuse_uks", False))
    try:
        label, reused = _once(task, group, context)
    except _NoStress as error:
        if "\n STRESS_TENSOR " in settings["template"]:
            hint = "set STRESS_TENSOR NONE to label without a stress"
            raise Fatal(f"CP2K rejects the input: {error}", hint, BAD_DATA) from None
        _without_stress.add(settings["template"])
        return _label(frame, settings, context)
    if reused and label.get("failure") == "unconverged":  # a bad guess is no reason: the frame gets one of its own
        label, _ = _once(task, "", context)
    return label


def _once(task: _Task, group: str, context: Context) -> tuple[LabelResult, bool]:
    """A label or a failure, and whether CP2K began with another frame's wavefunction."""
    outcome, log, reused = shell.run(task.text, task.files, group, context) or (*_alone(task, context), False)
    if outcome.returncode != 0 and not (outcome.timed_out or outcome.out_of_memory):
        environment_modules.check(outcome.returncode, log)
        if task.stress and output.no_stress(log):
            raise _NoStress(output.no_stress(log))
        _raise_fatal(outcome.returncode, log, task.log, context.get("executable") or installation.PROGRAM.executable)
    return single_run.logged(_judge(task, outcome, log), log, task.log), reused


def _alone(task: _Task, context: Context) -> tuple[subprocesses.Outcome, str]:
    """CP2K in a process of its own, where it has no shell."""
    files = {**task.files, shell.INPUT: task.text}
    ran = single_run.run(installation.PROGRAM, ["-i", shell.INPUT], files, context, log=shell.LOG)
    return ran.outcome, ran.log


def _judge(task: _Task, outcome: subprocesses.Outcome, log: str) -> LabelResult:
    """A label or a failure from what CP2K left behind."""
    if outcome.timed_out or outcome.out_of_memory:
        return failure(*single_run.over_limit(installation.PROGRAM, outcome))
    problem = output.failed(log, outcome.returncode)
    if problem:
        return failure(problem[0], complaint.of_electrons(problem[1], template.parse(task.text, "input")))
    try:
        numbers = output.results(log, len(task.frame["symbols"]), task.stress)
        more = properties.read(task.frame, task.text, log)
    except output.Unreadable as error:
        return failure("inconsistent", str(error))
    label = _converted(task.frame, numbers, f"CP2K {output.version(log)}")
    if "failure" in label:
        return label
    if task.cube is not None:
        more["info"] = {**more.get("info", {}), "psiflow_box": task.cube}
    return {**label, **more}


def _raise_fatal(returncode: int, log: str, task_log: TaskLog, executable: str) -> None:
    """Raise Fatal for what would fail every frame."""
    begun = output.version(log) or output.aborts(log)
    reason = output.never_started(log) or ("" if begun else launcher.never_started(returncode, log))
    mistake = output.bad_template(log)
    if reason:
        path = task_log.write(log, failed=True)
        raise launcher.missing(executable, "executable", f"{reason} (see {path})")
    if mistake and (name := output.missing_data(mistake)):
        hint = f"set {installation.VARIABLE} in [resources] env of the site to the data directory of that CP2K; {AGAIN}"
        raise Fatal(f"CP2K does not find its own file {name}: {mistake}", hint)
    if mistake:
        hint = f"fix the file given with --input; CP2K's log is {task_log.write(log, failed=True)}"
        raise Fatal(f"CP2K rejects the input: {mistake}", hint, exit_code=BAD_DATA)


def _converted(frame: Frame, numbers: output.Results, code: str) -> LabelResult:
    """Atomic units to eV and Å; CP2K's stress is a pressure, so its sign turns."""
    from ase.units import Bohr, Hartree

    stress = None if numbers.stress is None else [-x * Hartree / Bohr**3 for x in voigt.from_matrix(numbers.stress)]
    forces = [[x * Hartree / Bohr for x in row] for row in numbers.forces]
    return labels.label(frame, numbers.energy * Hartree, forces, stress, code)
