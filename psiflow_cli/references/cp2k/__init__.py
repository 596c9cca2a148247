"""CP2K (Quickstep): an input without coordinates in, energies, forces and stresses out.

No label depends on another frame, unless the template says SCF_GUESS RESTART. Everything is read in atomic units and
converted once, with ASE's constants.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psiflow_cli.errors import BadData, NoInput, UsageError
from psiflow_cli.references.cp2k import guess, launch, method, output, shell, template
from psiflow_cli.references.cp2k.change import changed
from psiflow_cli.references.cp2k.periodicity import Impossible
from psiflow_cli.references.cp2k.single_point import ROKS, UKS, build
from psiflow_cli.worker import frames as wire
from psiflow_cli.worker import launcher, modules, scratch, subprocesses
from psiflow_cli.worker.guard import Fatal, failure
from psiflow_cli.worker.kept import Kept

SUMMARY = "density functional theory with CP2K (Quickstep)"
REQUIRES = ("ase",)
FRAME_INPUTS = ("charge", "multiplicity")
DEFAULT_TASK_SECONDS = 0.0
__all__ = [
    "DEFAULT_TASK_SECONDS", "FRAME_INPUTS", "REQUIRES", "SUMMARY",
    "changed", "check", "code", "isolated", "label", "render", "replaced", "settings",
]  # fmt: skip


_ATOM_STEPS = 300
"""SCF steps that an open-shell atom may take; an ordinary structure's limit is often too low for it."""


@dataclass(frozen=True)
class _Origin:
    """Where settings came from; kept beside them, as equal methods in different files are equal."""

    where: str
    lines: dict[str, int]


_origins: dict[str, _Origin] = {}


def settings(input_file: Path | None, options: dict[str, str]) -> dict[str, Any]:
    """The template in canonical form, without what psiflow controls, and the text of the files beside it."""
    if input_file is None:
        raise UsageError("the reference cp2k needs a CP2K input", "name it with --input cp2k.inp")
    if not input_file.is_file():
        raise NoInput(f"{input_file}: no such file")
    found, root, _ = method.load(input_file, options)
    lines = {s.name: s.line.number for s in root.walk() if s.line.source == str(input_file) and s.line.text}
    _origins[json.dumps(found, sort_keys=True)] = _Origin(str(input_file), lines)
    return found


def replaced(input_file: Path) -> list[str]:
    """What is left out of a template, because the frame or psiflow decides it: `&MOTION`, `GLOBAL/RUN_TYPE`, …"""
    return method.load(input_file, {})[2]


def check(settings: dict[str, Any], elements: set[str]) -> None:
    """Raise BadData, with the template's name, for an element without a &KIND."""
    origin = _origins.get(json.dumps(settings, sort_keys=True), _Origin("the CP2K template", {}))
    method.check(settings, elements, origin.where, origin.lines)


def label(frames: list[dict[str, Any]], settings: dict[str, Any], context: dict[str, Any]) -> list[dict[str, Any]]:
    """*worker*: a label or a failure for each frame, in order."""
    return [_label(frame, settings, context) for frame in frames]


def render(frame: dict[str, Any], settings: dict[str, Any]) -> str:
    """The input that a frame would get. Raises BadData for a frame that can have none."""
    try:
        return build(frame, settings)[0]
    except Impossible as error:
        raise BadData(f"the first frame: {error}") from None


def isolated(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings for single atoms: neutral, unrestricted, without dispersion and k-points, with a patient SCF."""
    root = template.parse(settings["template"], "template")
    force_eval = template.only(root, "FORCE_EVAL")
    dft = force_eval.ensure("DFT")
    dft.drop("MULTIPLICITY", "MULTIP", "KPOINTS", *ROKS)
    dft.put("CHARGE", "0")
    dft.put("UKS", "T", *UKS)
    scf = dft.ensure("SCF")
    steps = scf.get("MAX_SCF") or "50"
    if steps.isdigit():
        scf.put("MAX_SCF", str(max(int(steps), _ATOM_STEPS)))
    for section in dft.sections("XC"):
        section.drop("VDW_POTENTIAL")
    return {**settings, "template": root.render()}


def code(context: dict[str, Any]) -> str:
    """*worker*: the code and its version, as labels carry it."""
    with scratch.folder(context, "cp2k") as folder:
        outcome, log = _launch(folder, ["--version"], {**context, "launch": "", "ranks": 1, "memory": None})
    modules.check(outcome.returncode, log)
    version = output.version(log)
    if not version:
        raise launch.missing(context.get("executable") or launch.EXECUTABLE, "executable", log.strip()[-200:])
    return f"CP2K {version}"


def _label(frame: dict[str, Any], settings: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    reason = wire.invalid(frame)
    if reason:
        return failure("invalid-input", reason)
    try:
        text, stress = build(frame, settings)
    except Impossible as error:
        return failure("invalid-input", str(error))
    kept = Kept(Path(context["logs"]), frame["id"], text)
    group = guess.group(frame, text, settings.get("reuse_uks", False))
    label, reused = _once(frame, text, settings["files"], group, stress, kept, context)
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
        modules.check(outcome.returncode, log)
        _raise_fatal(log, kept, context.get("executable") or launch.EXECUTABLE)
    return _judge(frame, outcome, log, stress, kept), reused


def _alone(text: str, files: dict[str, str], context: dict[str, Any]) -> tuple[subprocesses.Outcome, str]:
    """CP2K in a process of its own, where it has no shell."""
    with scratch.folder(context, "cp2k") as folder:
        for name, contents in {**files, shell.INPUT: text}.items():
            (folder / name).write_text(contents, encoding="utf-8")
        return _launch(folder, ["-i", shell.INPUT], context)


def _launch(folder: Path, arguments: list[str], context: dict[str, Any]) -> tuple[subprocesses.Outcome, str]:
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


def _judge(frame: dict[str, Any], outcome: subprocesses.Outcome, log: str, stress: bool, kept: Kept) -> dict[str, Any]:
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
    except output.Unreadable as error:
        return failure("inconsistent", str(error), kept.write(log, failed=True))
    made = _converted(frame, found, f"CP2K {output.version(log)}")
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

    stress = None if found.stress is None else [-x * Hartree / Bohr**3 for x in wire.voigt(found.stress)]
    forces = [[x * Hartree / Bohr for x in row] for row in found.forces]
    return wire.label(frame, found.energy * Hartree, forces, stress, code)
