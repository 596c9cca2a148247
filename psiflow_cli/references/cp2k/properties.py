"""What a template prints besides energy, forces and stress: the dipole moment and the charges of the atoms are kept."""

from __future__ import annotations

from typing import Any

from psiflow_cli.references.cp2k import analysis, template
from psiflow_cli.references.cp2k.template import Keyword, Section

KEPT = {"MOMENTS": "dipole", "MULLIKEN": "mulliken_charges", "HIRSHFELD": "hirshfeld_charges"}
"""Sections of &DFT/&PRINT, and what a frame gets from them."""
_WHERE = ("FILENAME", "ADD_LAST", "EACH", "COMMON_ITERATION_LEVELS", "LOG_PRINT_KEY", "__CONTROL_VAL")
"""When and where CP2K prints, which must be once, into its log."""


def strip(force_eval: Section) -> list[str]:
    """Remove every &PRINT section but what is kept of the one in &DFT; returns the paths of those removed.

    A section less matters: &PROGRAM_RUN_INFO OFF would hide from us whether the SCF converged.
    """
    removed: list[str] = []
    kept = _kept(force_eval)
    _remove(force_eval, "FORCE_EVAL", removed)
    if kept:
        force_eval.ensure("DFT").items.append(kept)
    return removed


def _kept(force_eval: Section) -> Section | None:
    """What stays of &DFT/&PRINT: the properties that are asked for, into the log."""
    found = force_eval.find("DFT/PRINT")
    if found is None:
        return None
    kept = Section("PRINT", "", found.line)
    for name in KEPT:
        for section in found.sections(name):
            if section.parameter.upper() != "OFF":
                section.parameter = "ON"
                section.drop(*_WHERE)
                kept.items.append(section)
    return kept if kept.items else None


def _remove(section: Section, path: str, removed: list[str]) -> None:
    if section.drop("PRINT"):
        removed.append(f"{path}/PRINT")
    for below in section.sections():
        _remove(below, f"{path}/{below.name}", removed)


def found(frame: dict[str, Any], text: str, log: str) -> dict[str, Any]:
    """The properties that the input `text` asks for and the log has, as they go into a label. Raises Unreadable."""
    force_eval = template.only(template.parse(text, "input"), "FORCE_EVAL")
    printed = force_eval.find("DFT/PRINT")
    info: dict[str, Any] = {}
    arrays: dict[str, Any] = {}
    for section in printed.sections() if printed else []:
        name = KEPT[section.name]
        if name == "dipole":
            moment = analysis.dipole(log)
            if moment:
                info[name] = _of_frame(moment, section, frame, force_eval)
        else:
            charges = analysis.charges(log, name, len(frame["symbols"]))
            if charges:
                arrays[name] = charges
    return {**({"info": info} if info else {}), **({"arrays": arrays} if arrays else {})}


def _of_frame(dipole: analysis.Dipole, section: Section, frame: dict[str, Any], force_eval: Section) -> list[float]:
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
