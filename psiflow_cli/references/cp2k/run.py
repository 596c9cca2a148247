"""CP2K on frames, in a worker: run, judged by its log, and its numbers converted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from psiflow_cli import voigt
from psiflow_cli.references.cp2k import guess, launch, output, properties, shell
from psiflow_cli.references.cp2k.periodicity import Impossible
from psiflow_cli.references.cp2k.single_point import build
from psiflow_cli.worker.failures import Fatal, failure
from psiflow_cli.worker.process import environment_modules, launcher, scratch, subprocesses
from psiflow_cli.worker.process.task_logs import Kept
from psiflow_cli.worker.structures import labels, validity

_without_stress: set[str] = set()
"""Templates that do not ask for a stress, for whose methods CP2K has none."""


class _NoStress(Exception):
    """CP2K has no stress for this method."""


def label(frames: list[dict[str, Any]], settings: dict[str, Any], context: dict[str, Any]) -> list[dict[str, Any]]:
    """*worker*: a label or a failure for each frame, in order."""
    return [_label(frame, settings, context) for frame in frames]


def code(context: dict[str, Any]) -> str:
    """*worker*: the code and its version, as labels carry it."""
    with scratch.folder(context, "cp2k") as folder:
        outcome, log = launched(folder, ["--version"], {**context, "launch": "", "ranks": 1, "memory": None})
    environment_modules.check(outcome.returncode, log)
    version = output.version(log)
    if not version:
        raise launch.missing(context.get("executable") or launch.EXECUTABLE, "executable", log.strip()[-200:])
    return f"CP2K {version}"


def _label(frame: dict[str, Any], settings: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    reason = validity.invalid(frame)
    if reason:
        return failure("invalid-input", reason)
    try:
        text, stress = build(frame, settings, settings["template"] not in _without_stress)
    except Impossible as error:
        return failure("invalid-input", str(error))
    kept = Kept(Path(context["logs"]), frame["id"], text)
    group = guess.group(frame, text, settings.get("reuse_uks", False))
    try:
        label, reused = _once(frame, text, settings["files"], group, stress, kept, context)
    except _NoStress as error:
        if "\n STRESS_TENSOR " in settings["template"]:
            raise Fatal(f"CP2K rejects the template: {error}", "STRESS_TENSOR NONE does without", 65) from None
        _without_stress.add(settings["template"])
        return _label(frame, settings, context)
    if reused and label.get("failure") == "unconverged":  # a bad guess is no reason: the frame gets one of its own
        label, _ = _once(frame, text, settings["files"], "", stress, kept, context)
    return label


def _once(
    frame: dict[str, Any],
    text: str,
    files: dict[str, str],
    group: str,
    stress: bool,
    kept: Kept,
    context: dict[str, Any],
) -> tuple[dict[str, Any], bool]:
    """A label or a failure, and whether CP2K began with another frame's wavefunction."""
    answer = shell.run(text, files, group, context)
    outcome, log, reused = answer or (*_alone(text, files, context), False)
    if outcome.returncode != 0 and not (outcome.timed_out or outcome.out_of_memory):
        environment_modules.check(outcome.returncode, log)
        if stress and output.no_stress(log):
            raise _NoStress(output.no_stress(log))
        _raise_fatal(log, kept, context.get("executable") or launch.EXECUTABLE)
    return _judge(frame, text, outcome, log, stress, kept), reused


def _alone(text: str, files: dict[str, str], context: dict[str, Any]) -> tuple[subprocesses.Outcome, str]:
    """CP2K in a process of its own, where it has no shell."""
    with scratch.folder(context, "cp2k") as folder:
        for name, contents in {**files, shell.INPUT: text}.items():
            (folder / name).write_text(contents, encoding="utf-8")
        return launched(folder, ["-i", shell.INPUT], context)


def launched(folder: Path, arguments: list[str], context: dict[str, Any]) -> tuple[subprocesses.Outcome, str]:
    """CP2K with these arguments in `folder`: how it ended, and what it printed."""
    argv = launch.command(context, *arguments)
    try:
        outcome = subprocesses.run(
            argv,
            folder / shell.LOG,
            cwd=folder,
            env=launcher.environment(context),
            seconds=context.get("walltime"),
            memory=context.get("memory"),
            cpus=context.get("cpus"),
        )
    except OSError as error:
        raise launch.missing(
            argv[0], "launch" if context.get("launch") else "executable", str(error.strerror)
        ) from None
    return outcome, (folder / shell.LOG).read_text(errors="replace")


def _judge(
    frame: dict[str, Any], text: str, outcome: subprocesses.Outcome, log: str, stress: bool, kept: Kept
) -> dict[str, Any]:
    """A label or a failure from what CP2K left behind."""
    if outcome.timed_out:
        return failure("timeout", f"CP2K was still running after {outcome.seconds:.3g} s", kept.write(log, failed=True))
    if outcome.out_of_memory:
        return failure("out-of-memory", "CP2K went over the memory of its task", kept.write(log, failed=True))
    problem = output.failed(log, outcome.returncode)
    if problem:
        return failure(*problem, kept.write(log, failed=True))
    try:
        found = output.results(log, len(frame["symbols"]), stress)
        more = properties.found(frame, text, log)
    except output.Unreadable as error:
        return failure("inconsistent", str(error), kept.write(log, failed=True))
    made = _converted(frame, found, f"CP2K {output.version(log)}") | more
    path = kept.write(log, failed="failure" in made)
    return {**made, "log": path} if "failure" in made else made


def _raise_fatal(log: str, kept: Kept, executable: str) -> None:
    """Raise Fatal for what would fail every frame."""
    reason, complaint = output.never_started(log), output.bad_template(log)
    if reason:
        raise launch.missing(executable, "executable", f"{reason} (see {kept.write(log, failed=True)})")
    if complaint:
        hint = f"mend the file given with --input; CP2K's log is {kept.write(log, failed=True)}"
        raise Fatal(f"CP2K rejects the template: {complaint}", hint, exit_code=65)


def _converted(frame: dict[str, Any], found: output.Results, code: str) -> dict[str, Any]:
    """Atomic units to eV and Å; CP2K's stress is a pressure, so its sign turns."""
    from ase.units import Bohr, Hartree

    stress = None if found.stress is None else [-x * Hartree / Bohr**3 for x in voigt.from_matrix(found.stress)]
    forces = [[x * Hartree / Bohr for x in row] for row in found.forces]
    return labels.label(frame, found.energy * Hartree, forces, stress, code)
