"""Quantum ESPRESSO's pw.x: an input without atoms in, energies, forces and stresses out.

Everything is read from the XML file, in Hartree atomic units and with all digits, and converted once with ASE's
constants. pw.x counts compression as positive, so the stress's sign turns.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli import inputs, voigt
from psiflow_cli.errors import BadData, UsageError
from psiflow_cli.references.espresso import template
from psiflow_cli.references.espresso.template import Settings, build
from psiflow_cli.references.espresso.template import of_atoms as of_atoms
from psiflow_cli.worker.failures import failure
from psiflow_cli.worker.process import single_run
from psiflow_cli.worker.process.single_run import Program, Ran
from psiflow_cli.worker.structures import labels, validity

if TYPE_CHECKING:
    from psiflow_cli.messages import Context, Frame, LabelResult

SUMMARY = "plane-wave density functional theory with Quantum ESPRESSO (pw.x)"
REQUIRES = ("ase",)
FRAME_INPUTS = ("charge", "multiplicity")
DEFAULT_TASK_SECONDS = 0.0

_ERROR = r"Error in routine\s+"
PROGRAM = Program(
    name="Quantum ESPRESSO",
    executable="pw.x",
    started=re.compile(r"Program PWSCF v"),
    bad_input=re.compile(
        _ERROR
        + r"(?:read_namelists|read_cards|card_\w+|readpp|read_pseudo\w*|upf\w*|set_dft_from_name|iosys|setup|input)"
        r" +\(-?\d+\):\s*\n.*"
    ),
    bad_frame=re.compile(
        _ERROR
        + r"\S+ +\(-?\d+\):\s*\n.*(?:charge is wrong|tot_magnetization|too few bands|overlap!|fixed occupations).*"
    ),
    unconverged=re.compile(r"convergence NOT achieved"),
    last_words=re.compile(_ERROR + r"\S+ +\(-?\d+\):\s*\n.*"),
)
_VERSION = re.compile(r"Program PWSCF v\.?(\S+?)(?:MaX)? +starts")
_INPUT, _XML = "psiflow.in", f"{template.PREFIX}.xml"
_BOX = 12.0  # Å: edge of the cell of an isolated atom


def settings(input_file: Path | None, options: dict[str, str]) -> Settings:
    """From the template and the pseudopotentials that it names."""
    inputs.check_options("espresso", options)
    text = inputs.text(input_file, "espresso", "pw.in")
    assert input_file is not None
    settings, folder, _, lines = template.read(input_file, text)
    folders = [input_file.parent / folder] if folder else []
    folders += [Path(os.environ["ESPRESSO_PSEUDO"])] if os.environ.get("ESPRESSO_PSEUDO") else []
    return {**settings, "files": {name: inputs.beside(input_file, name, folders, line) for name, line in lines.items()}}


def replaced(input_file: Path) -> list[str]:
    return template.read(input_file, inputs.text(input_file, "espresso", "pw.in"))[2]


def check(settings: Settings, elements: set[str]) -> None:
    """Raise BadData for an element without a species, or with several of which no frame says whose they are."""
    kinds = [label for label, _, _ in settings["species"]]
    for missing in sorted(elements - set(map(inputs.element, kinds))):
        raise BadData(f"ATOMIC_SPECIES has no {missing}", f"add a line to it, as in: {missing} 1.0 {missing}.UPF")
    atoms = settings.get("atoms", [])
    for symbol, names in inputs.several(kinds, atoms).items():
        if symbol in elements and symbol not in map(inputs.element, atoms):
            raise BadData(f"ATOMIC_SPECIES has several {symbol}: {', '.join(names)}", inputs.GIVE_ATOMS)


def render(frame: Frame, settings: Settings) -> str:
    """The input of one frame. Raises ValueError for a frame that can have none."""
    reason, frame = _unsupported(frame, settings)
    if reason:
        raise ValueError(reason)
    return build(frame, settings)


def label(frames: list[Frame], settings: Settings, context: Context) -> list[LabelResult]:
    return [_label(frame, settings, context) for frame in frames]


def changed(settings: Settings, changes: dict[str, str]) -> Settings:
    """The settings with keys of namelists set, such as `electrons/mixing_beta=0.3`."""
    namelists = {name: dict(keys) for name, keys in settings["namelists"].items()}
    for path, value in changes.items():
        name, _, key = path.lower().partition("/")
        if not key or name not in namelists or key.partition("(")[0] in (*template.CONTROLLED.get(name, ()), "ntyp"):
            raise UsageError(f"{path!r} cannot be changed", "write NAMELIST/KEY=VALUE, as in electrons/mixing_beta=0.3")
        namelists[name][key] = value
    return {**settings, "namelists": namelists}


def isolated(settings: Settings) -> Settings:
    """The settings for single atoms: neutral, spin-polarised, without dispersion, in a box and at gamma."""
    keys = {k: v for k, v in settings["namelists"]["system"].items() if k not in ("vdw_corr", "tot_charge")}
    namelists = {**settings["namelists"], "system": {**keys, "nspin": "2"}}
    alone: Settings = {**settings, "namelists": namelists, "cards": {**settings["cards"], "K_POINTS": "K_POINTS gamma"}}
    kinds = [label for label, _, _ in settings["species"]]
    if inputs.several(kinds, []):
        alone["atoms"] = inputs.firsts(kinds)
    return {**alone, "box": _BOX}


def code(context: Context) -> str:
    return single_run.version(PROGRAM, ["-in", _INPUT], {_INPUT: ""}, context, _VERSION)


def _unsupported(frame: Frame, settings: Settings) -> tuple[str, Frame]:
    """Why pw.x cannot compute this frame, or "", and the frame with a cell."""
    edge = settings.get("box")
    if edge and frame.get("cell") is None:
        return "", {**frame, "cell": [[edge, 0.0, 0.0], [0.0, edge, 0.0], [0.0, 0.0, edge]]}
    system, pbc = settings["namelists"]["system"], frame.get("pbc") or [False] * 3
    if frame.get("multiplicity") is not None and system.get("noncolin", "").lower().startswith((".t", "t")):
        return "its multiplicity has no effect with noncolin = .true.: remove one of them", frame
    alone, axes = template.isolation(system)
    if frame.get("cell") is None or not (all(pbc) or alone):
        return "pw.x computes frames that are periodic in three directions, or have a cell and assume_isolated", frame
    if alone and "".join("FT"[bool(on)] for on in pbc) != axes:
        return f"assume_isolated = '{alone}' is for frames with pbc=\"{' '.join(axes)}\"", frame
    return "", frame


def _label(frame: Frame, settings: Settings, context: Context) -> LabelResult:
    reason, boxed = _unsupported(frame, settings)
    reason = validity.invalid(boxed) or reason
    if reason:
        return failure("invalid-input", reason)
    try:
        text = build(boxed, settings)
    except ValueError as error:
        return failure("invalid-input", str(error))
    files = {name: contents.encode("latin-1") for name, contents in settings["files"].items()}
    ran = single_run.run(PROGRAM, ["-in", _INPUT], {**files, _INPUT: text}, context, (_XML,))
    return single_run.label(PROGRAM, ran, frame, text, context, _converted)


def _converted(frame: Frame, ran: Ran) -> LabelResult:
    """A label from the XML file; free energies of a smearing are what the forces belong to."""
    from xml.etree import ElementTree

    from ase.units import Bohr, Hartree

    try:
        output = ElementTree.fromstring(ran.files[_XML]).find("output")
        assert output is not None
        texts = (output.findtext(name) or "" for name in ("total_energy/etot", "forces", "stress"))
        energies, slopes, pressures = ([float(x) for x in text.split()] for text in texts)
    except (KeyError, AssertionError, ElementTree.ParseError, ValueError):
        return failure("inconsistent", "pw.x left no readable XML file")
    if (output.findtext("convergence_info/scf_conv/convergence_achieved") or "").strip() != "true":
        return failure("unconverged", "the SCF did not converge")
    if not energies or not slopes:
        return failure("inconsistent", "pw.x left no energy, or no forces")
    forces = [[x * Hartree / Bohr for x in slopes[i : i + 3]] for i in range(0, len(slopes), 3)]
    stress = None
    if pressures and all(frame.get("pbc") or [False]):
        rows = [pressures[i : i + 3] for i in (0, 3, 6)]
        stress = [-x * Hartree / Bohr**3 for x in voigt.from_matrix(rows)]
    version = single_run.first(_VERSION, ran.log)
    return labels.label(frame, energies[0] * Hartree, forces, stress, f"{PROGRAM.name} {version}")
