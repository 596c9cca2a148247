"""Psi4: options and a method in, energies and forces of molecules out.

Positions go in, and numbers come out, in atomic units and with all digits, and are converted once with ASE's constants.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli import inputs
from psiflow_cli.errors import UsageError
from psiflow_cli.references.psi4 import template
from psiflow_cli.references.psi4.template import Settings
from psiflow_cli.references.psi4.template import of_atoms as of_atoms
from psiflow_cli.references.psi4.template import render as render
from psiflow_cli.worker.failures import failure
from psiflow_cli.worker.process import single_run
from psiflow_cli.worker.process.single_run import Program, Ran
from psiflow_cli.worker.structures import labels, validity

if TYPE_CHECKING:
    from psiflow_cli.messages import Context, Frame, LabelResult

SUMMARY = "Hartree-Fock, density functional theory and correlated methods of molecules with Psi4"
REQUIRES = ("ase",)
FRAME_INPUTS = ("charge", "multiplicity")
DEFAULT_TASK_SECONDS = 0.0

PROGRAM = Program(
    name="Psi4",
    executable="psi4",
    started=re.compile(r"Psi4: An Open-Source|Psi4 started on|psi4/driver"),
    bad_input=re.compile(
        r"BasisSet::construct: Unable to find a basis set.*|(?<=Error: )Derivative method 'name' .* are not available|"
        r".* is not a valid (?:option|choice).*|.*[Oo]ption .* (?:does not exist|not found|is not recognized).*|"
        r"SyntaxError: .*|NameError: .*"
    ),
    bad_frame=re.compile(r"Inconsistent or unspecified chg/mult.*|RHF reference is only for singlets.*"),
    unconverged=re.compile(r"(?:PsiException|Error): (?:Could not converge|.*did not converge).*|not converge in"),
    last_words=re.compile(r"(?m)^(?:RuntimeError|\S+Error|\S+Exception|Fatal Error): *\S?.*$"),
)
_VERSION = re.compile(r"(?:Psi4 |^)(\d+\.\d\S*)", re.M)
_INPUT = "psiflow.dat"


def settings(input_file: Path | None, options: dict[str, str]) -> Settings:
    inputs.check_options("psi4", options)
    return template.read(str(input_file), inputs.text(input_file, "psi4", "psi4.dat"))[0]


def replaced(input_file: Path) -> list[str]:
    return template.read(str(input_file), inputs.text(input_file, "psi4", "psi4.dat"))[1]


def check(settings: Settings, elements: set[str]) -> None:
    """Which elements a basis has, only Psi4 knows; but lines that assign one to each element are read."""
    template.check_basis(settings, elements)


def label(frames: list[Frame], settings: Settings, context: Context) -> list[LabelResult]:
    return [_label(frame, settings, context) for frame in frames]


def changed(settings: Settings, changes: dict[str, str]) -> Settings:
    """The settings with options set, such as `maxiter=200`, which count over the template's."""
    added = ""
    for key, value in changes.items():
        if not re.fullmatch(r"[a-z]\w*", key.lower()) or not re.fullmatch(r"[\w.+-]+", value):
            raise UsageError(f"{key}={value} is not an option of Psi4", "write OPTION=VALUE, as in maxiter=200")
        added += f"set {key.lower()} {value}\n"
    return {**settings, "template": settings["template"] + added}


def isolated(settings: Settings) -> Settings:
    """The settings for single atoms: neutral, unrestricted, without the dispersion in a method's name."""
    method = re.sub(r"-(?:d\d?\w*|nl)$", "", settings["method"].lower())
    alone: Settings = {"method": method, "template": settings["template"] + "set reference uhf\n"}
    kinds = template.labels(settings["template"])
    return {**alone, "atoms": inputs.firsts(kinds)} if inputs.several(kinds, []) else alone


def code(context: Context) -> str:
    return single_run.version(PROGRAM, ["--version"], {}, context, _VERSION)


def _label(frame: Frame, settings: Settings, context: Context) -> LabelResult:
    whole = frame
    if "charge" in settings:
        charge, multiplicity = template.electrons(frame, settings)
        whole = {**frame, "charge": charge, "multiplicity": multiplicity}
    reason = validity.invalid(frame) or validity.not_a_molecule(whole, "Psi4")
    if reason:
        return failure("invalid-input", reason)
    try:
        text = render(frame, settings)
    except ValueError as error:
        return failure("invalid-input", str(error))
    threads = str(context.get("threads") or 1)  # Psi4 takes no notice of OMP_NUM_THREADS
    arguments = ["-i", _INPUT, "-o", "stdout", "-n", threads, "-s", "."]
    ran = single_run.run(PROGRAM, arguments, {_INPUT: text}, context, (template.NUMBERS,))
    return single_run.label(PROGRAM, ran, frame, text, context, _converted)


def _converted(frame: Frame, ran: Ran) -> LabelResult:
    """A label from the numbers that the input's last lines wrote."""
    from ase.units import Bohr, Hartree

    if template.NUMBERS not in ran.files:
        return failure("inconsistent", "Psi4 wrote no results")
    energy, gradient = json.loads(ran.files[template.NUMBERS])
    forces = [[-x * Hartree / Bohr for x in row] for row in gradient]
    return labels.label(frame, energy * Hartree, forces, None, f"Psi4 {single_run.first(_VERSION, ran.log)}")
