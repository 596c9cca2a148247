"""NWChem: an input without a geometry in, energies and forces of molecules out.

Positions go in, and numbers come out, in atomic units; they are read from the file that NWChem's `ecce_print` makes,
which has all their digits (the log has six of a force), and converted once with ASE's constants.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli import inputs
from psiflow_cli.errors import UsageError
from psiflow_cli.references.nwchem import template
from psiflow_cli.references.nwchem.template import Settings
from psiflow_cli.references.nwchem.template import of_atoms as of_atoms
from psiflow_cli.references.nwchem.template import render as render
from psiflow_cli.worker.failures import failure
from psiflow_cli.worker.process import single_run
from psiflow_cli.worker.process.single_run import Program, Ran
from psiflow_cli.worker.structures import labels, validity

if TYPE_CHECKING:
    from psiflow_cli.messages import Context, Frame, LabelResult

SUMMARY = "Hartree-Fock, density functional theory and correlated methods of molecules with NWChem"
REQUIRES = ("ase",)
FRAME_INPUTS = ("charge", "multiplicity")
DEFAULT_TASK_SECONDS = 0.0

_SAID = r"(?<=-{72}\n )[^\n]+?(?= {2,}-?\d+\n -{72}\n -{72}\n  current input line"
_WRONG = r"(?<=-{72}\n )([^\n]+?) {2,}-?\d+\n -{72}\n -{72}\n  current input line :\s*(?:\d+: +(\S.*))?"
PROGRAM = Program(
    name="NWChem",
    executable="nwchem",
    started=re.compile(r"Northwest Computational Chemistry Package"),
    bad_input=re.compile(_WRONG + r"[\s\S]{1,600}There is an error in the "),
    bad_frame=re.compile(
        r"no\. of electrons and multiplicity not compatible|closed-shell electrons is not even|"
        r"mp2_grad: unknown SCFTYPE"  # no gradient of an open shell unless the template says uhf
    ),
    unconverged=re.compile(
        r"Calculation failed to converge|\*maximum iterations exceeded\*|"
        r"not reaching convergence criteria|did not converge"
    ),
    last_words=re.compile(_SAID + ")"),
)
_VERSION = re.compile(r"\(NWChem\) (\S+)")
_INPUT = "psiflow.nw"


def settings(input_file: Path | None, options: dict[str, str]) -> Settings:
    inputs.check_options("nwchem", options)
    text = inputs.text(input_file, "nwchem", "nwchem.nw")
    return template.read(str(input_file), text)[0]


def replaced(input_file: Path) -> list[str]:
    return template.read(str(input_file), inputs.text(input_file, "nwchem", "nwchem.nw"))[1]


def check(settings: Settings, elements: set[str]) -> None:
    """Raise BadData for an element without a basis, or with several of which no frame says whose they are."""
    template.check_basis(settings, elements)


def label(frames: list[Frame], settings: Settings, context: Context) -> list[LabelResult]:
    return [_label(frame, settings, context) for frame in frames]


def changed(settings: Settings, changes: dict[str, str]) -> Settings:
    """The settings with lines added to blocks, such as `dft/iterations=200`, which count over the template's."""
    added = ""
    for path, value in changes.items():
        block, _, name = path.lower().partition("/")
        if not name or block not in ("dft", "scf", "mp2", "ccsd", "tce") or name in ("mult", "nopen"):
            raise UsageError(f"{path!r} cannot be changed", "write BLOCK/LINE=VALUE, as in dft/iterations=200")
        added += f"{block}\n{name} {value}\nend\n"
    return {**settings, "template": settings["template"] + added}


def isolated(settings: Settings) -> Settings:
    """The settings for single atoms: neutral, unrestricted, without dispersion."""
    lines = [line for line in settings["template"].splitlines() if line.lower().split()[0] != "disp"]
    lines += ["dft", "odft", "end"] if "dft" in settings["theory"] else ["scf", "uhf", "end"]
    alone: Settings = {**settings, "template": "\n".join(lines) + "\n", "charge": 0}
    kinds = template.tags(settings["template"])
    return {**alone, "atoms": inputs.firsts(kinds)} if inputs.several(kinds, []) else alone


def code(context: Context) -> str:
    return single_run.version(PROGRAM, [_INPUT], {_INPUT: "start psiflow\n"}, context, _VERSION)


def _label(frame: Frame, settings: Settings, context: Context) -> LabelResult:
    charge = settings["charge"] if frame.get("charge") is None else frame["charge"]
    whole: Frame = {**frame, "charge": charge}
    stated = template.multiplicity(settings)
    if stated is not None and frame.get("multiplicity") is None:
        whole["multiplicity"] = stated
    reason = validity.invalid(frame) or validity.not_a_molecule(whole, "NWChem")
    if reason:
        return failure("invalid-input", reason)
    try:
        text = render(frame, settings)
    except ValueError as error:
        return failure("invalid-input", str(error))
    ran = single_run.run(PROGRAM, [_INPUT], {_INPUT: text}, context, (template.NUMBERS,))
    return single_run.label(PROGRAM, ran, frame, text, context, _converted)


def _converted(frame: Frame, ran: Ran) -> LabelResult:
    """A label from the numbers of the task itself, which stand on the lines after their headers."""
    from ase.units import Bohr, Hartree

    numbers = {}
    for name in ("energy", "gradient"):
        at = ran.files.get(template.NUMBERS, "").rfind(f"task_gradient%begin%total {name}%")
        if at < 0:
            return failure("inconsistent", f"NWChem wrote no {name}")
        text = ran.files[template.NUMBERS][at:].partition("\n")[2]
        numbers[name] = [float(x) for x in text.partition("task_gradient")[0].split()]
    rows = [numbers["gradient"][i : i + 3] for i in range(0, len(numbers["gradient"]), 3)]
    forces = [[-x * Hartree / Bohr for x in row] for row in rows]
    version = single_run.first(_VERSION, ran.log)
    return labels.label(frame, numbers["energy"][0] * Hartree, forces, None, f"NWChem {version}")
