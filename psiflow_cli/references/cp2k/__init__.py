"""CP2K (Quickstep): an input without coordinates in, energies, forces and stresses out.

No label depends on another frame, unless the template says SCF_GUESS RESTART. Everything is read in atomic units and
converted once, with ASE's constants.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli.errors import BadData, NoInput, UsageError
from psiflow_cli.references.cp2k import complaint, installation, method, output, shell, template
from psiflow_cli.references.cp2k.method import changed
from psiflow_cli.references.cp2k.run import code, label
from psiflow_cli.references.cp2k.single_point import ROKS, UKS, build
from psiflow_cli.references.cp2k.structure import atoms, kinds
from psiflow_cli.references.cp2k.structure.periodicity import Impossible
from psiflow_cli.references.cp2k.structure.survey import Survey
from psiflow_cli.references.cp2k.template import Section
from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.pool import temporary_folders
from psiflow_cli.worker.process import single_run

if TYPE_CHECKING:
    from psiflow_cli.messages import Context, Frame
    from psiflow_cli.references.cp2k.template import Settings

SUMMARY = "density functional theory with CP2K (Quickstep)"
REQUIRES = ("ase",)
FRAME_INPUTS = ("charge", "multiplicity")
DEFAULT_TASK_SECONDS = 0.0
__all__ = [
    "DEFAULT_TASK_SECONDS", "FRAME_INPUTS", "REQUIRES", "SUMMARY",
    "changed", "check", "code", "identity", "isolated", "label", "locate", "render", "replaced", "settings", "survey",
    "try_out",
]  # fmt: skip


_PATIENCE_S = 20.0
"""How long CP2K may take to read an input."""
_ATOM_STEPS = 300
"""SCF steps that an open-shell atom may take; an ordinary structure's limit is often too low for it."""


@dataclass(frozen=True)
class _Origin:
    """Where settings came from; kept beside them, as equal methods in different files are equal."""

    where: str
    lines: dict[str, int]
    root: Section | None = None


_origins: dict[str, _Origin] = {}


def settings(input_file: Path | None, options: dict[str, str]) -> Settings:
    """The template in canonical form, without what psiflow controls, and the text of the files beside it."""
    if input_file is None:
        raise UsageError("the reference cp2k needs a CP2K input", "give it with --input cp2k.inp")
    if not input_file.is_file():
        raise NoInput(f"{input_file}: no such file")
    loaded, root, _ = method.load(input_file, options)
    lines = {s.name: s.line.number for s in root.walk() if s.line.source == str(input_file) and s.line.text}
    _origins[_key(loaded)] = _Origin(str(input_file), lines, root)
    return loaded


def identity(settings: Settings) -> Settings:
    """What decides a label: of the files that go along their sha256, as a table may have megabytes."""
    files = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in settings["files"].items()}
    decisive: Settings = {**settings, "files": files}
    force_eval = template.only(template.parse(settings["template"], "template"), "FORCE_EVAL")
    if not settings.get("molecules") and not atoms.decide_labels(force_eval, settings.get("labels", [])):
        decisive.pop("labels", None)  # they only say which frames there can be
    if settings.get("periodic") != "NONE":
        decisive.pop("periodic", None)  # as does this
    return decisive


def replaced(input_file: Path) -> list[str]:
    """What is left out of a template, because the frame or psiflow decides it: `&MOTION`, `GLOBAL/RUN_TYPE`, …"""
    return method.load(input_file, {})[2]


def check(settings: Settings, elements: set[str]) -> list[str]:
    """Raise BadData, with the template's name, for an element without a &KIND; returns what else is worth a note."""
    origin = _origin(settings)
    force_eval = template.only(template.parse(settings["template"], origin.where), "FORCE_EVAL")
    place = f"{origin.where}:{origin.lines.get('SUBSYS') or origin.lines.get('FORCE_EVAL') or 1}"
    return atoms.check(settings, force_eval, elements, origin.where, place)


def survey(settings: Settings) -> Survey:
    """What sees the frames before any is computed."""
    origin = _origin(settings)
    return Survey(settings, f"{origin.where}:{origin.lines.get('SUBSYS') or 1}")


def locate(settings: Settings, text: str) -> str:
    """Where in the template it is that CP2K complains about, as `file:line`, or "" if that cannot be told."""
    root = _origin(settings).root
    line = complaint.place(root, text) if root else None
    return f"{line.source}:{line.number}" if line else ""


def try_out(frame: Frame, settings: Settings, context: Context) -> None:
    """Raise BadData if CP2K refuses to read a frame's input; says nothing where no CP2K can be started."""
    try:
        text, _ = build(frame, settings)
        with temporary_folders.temporary("psiflow") as folder:
            Path(folder, shell.INPUT).write_text(text, encoding="utf-8")
            alone: Context = {**context, "launch": "", "ranks": 1, "memory": None, "walltime": _PATIENCE_S}
            _, log = single_run.run_in(Path(folder), installation.PROGRAM, ["--check", shell.INPUT], alone)
    except (Impossible, Fatal):
        return  # of the one, other frames know nothing; the other is said where the tasks run
    mistake = output.bad_template(log)
    if mistake:
        raise BadData(f"CP2K rejects the input: {mistake}", "fix the file given with --input")


def _origin(settings: Settings) -> _Origin:
    return _origins.get(_key(settings), _Origin("the CP2K template", {}))


def _key(settings: Settings) -> str:
    return json.dumps(settings, sort_keys=True)


def render(frame: Frame, settings: Settings) -> str:
    """The input that a frame would get. Raises ValueError for a frame that can have none."""
    return build(frame, settings)[0]


def isolated(settings: Settings) -> Settings:
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
    kinds.keep_one(force_eval)
    atom: Settings = {**settings, "template": root.render()}
    atom.pop("labels", None)
    atom.pop("molecules", None)
    if atom.get("periodic") != "NONE":
        atom.pop("periodic", None)
    if "cell" not in atom:
        atom.pop("centre", None)  # it is in the middle of a cube
    _origins[_key(atom)] = _origin(settings)
    return atom
