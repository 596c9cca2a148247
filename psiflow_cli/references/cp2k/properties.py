"""What a template prints besides energy, forces and stress: the dipole moment and the charges of the atoms are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from psiflow_cli.references.cp2k import analysis, template
from psiflow_cli.references.cp2k.template import Keyword, Section

if TYPE_CHECKING:
    from psiflow_cli.messages import Frame

PROPERTIES = {"MOMENTS": "dipole", "MULLIKEN": "mulliken_charges", "HIRSHFELD": "hirshfeld_charges"}
"""Sections of &DFT/&PRINT, and what a frame gets from them."""
_WHERE = ("FILENAME", "ADD_LAST", "EACH", "COMMON_ITERATION_LEVELS", "LOG_PRINT_KEY", "__CONTROL_VAL")
"""When and where CP2K prints, which must be once, into its log."""


def strip(force_eval: Section) -> list[str]:
    """Remove every &PRINT section but what is kept of the one in &DFT; returns the paths of those removed.

    A section less matters: &PROGRAM_RUN_INFO OFF would hide from us whether the SCF converged.
    """
    removed: list[str] = []
    requested = _requested(force_eval)
    _remove(force_eval, "FORCE_EVAL", removed)
    if requested:
        force_eval.ensure("DFT").items.append(requested)
    return removed


def _requested(force_eval: Section) -> Section | None:
    """What stays of &DFT/&PRINT: the properties that are asked for, into the log."""
    printed = force_eval.find("DFT/PRINT")
    if printed is None:
        return None
    requested = Section("PRINT", "", printed.line)
    for name in PROPERTIES:
        for section in printed.sections(name):
            if section.parameter.upper() != "OFF":
                section.parameter = "ON"
                section.drop(*_WHERE)
                requested.items.append(section)
    return requested if requested.items else None


def _remove(section: Section, path: str, removed: list[str]) -> None:
    if section.drop("PRINT"):
        removed.append(f"{path}/PRINT")
    for below in section.sections():
        _remove(below, f"{path}/{below.name}", removed)


class Properties(TypedDict, total=False):
    """What a label has besides energy, forces and stress; see `messages.Label`."""

    info: dict[str, float | list[float]]
    arrays: dict[str, list[float]]


def read(frame: Frame, text: str, log: str) -> Properties:
    """The properties that the input `text` asks for and the log has, as they go into a label. Raises Unreadable."""
    force_eval = template.only(template.parse(text, "input"), "FORCE_EVAL")
    printed = force_eval.find("DFT/PRINT")
    info: dict[str, float | list[float]] = {}
    arrays: dict[str, list[float]] = {}
    for section in printed.sections() if printed else []:
        name = PROPERTIES[section.name]
        if name == "dipole":
            moment = analysis.dipole(log)
            if moment:
                info[name] = _of_frame(moment, section, frame, force_eval)
        else:
            charges = analysis.charges(log, name, len(frame["symbols"]))
            if charges:
                arrays[name] = charges
    properties: Properties = {}
    if info:
        properties["info"] = info
    if arrays:
        properties["arrays"] = arrays
    return properties


def _of_frame(dipole: analysis.Dipole, section: Section, frame: Frame, force_eval: Section) -> list[float]:
    """The dipole moment in e·Å about a point that stands where the template says in the frame's own coordinates.

    That of an ion depends on the point, and the ion may have been moved into a box.
    """
    from ase.units import Bohr

    moment = [x * Bohr for x in dipole.moment]
    if section.word("REFERENCE", "REF") in ("COM", "COAC"):
        return moment
    first = next(i.value for i in force_eval.ensure("SUBSYS/COORD").items if isinstance(i, Keyword))
    moved = [float(x) - y for x, y in zip(first.split(), frame["positions"][0], strict=True)]
    return [m - dipole.charge * x for m, x in zip(moment, moved, strict=True)]
