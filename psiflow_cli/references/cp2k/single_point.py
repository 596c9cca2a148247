"""One frame's CP2K input: the method, with the frame's cell, atoms, charge and multiplicity put into it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from psiflow_cli.references.cp2k import template
from psiflow_cli.references.cp2k.structure import atoms
from psiflow_cli.references.cp2k.structure.periodicity import Box, Impossible, Wishes, box
from psiflow_cli.references.cp2k.template import Keyword, Section, Settings

if TYPE_CHECKING:
    from psiflow_cli.messages import Frame

PROJECT = "psiflow"
UKS = ("UKS", "UNRESTRICTED_KOHN_SHAM", "LSD", "SPIN_POLARIZED")
ROKS = ("ROKS", "RESTRICTED_OPEN_KOHN_SHAM")
SOLVER = ("POISSON_SOLVER", "POISSON", "PSOLVER")
FIXED = ("EXTERNAL_POTENTIAL", "EXTERNAL_DENSITY", "DIRICHLET_BC")
"""Sections with a place of their own in space."""
DIGITS = "14"


def build(frame: Frame, settings: Settings, stress: bool = True) -> tuple[str, bool]:
    """The input's text, and whether it asks for a stress, if it may. Raises Impossible."""
    root = template.parse(settings["template"], "template")
    force_eval = template.only(root, "FORCE_EVAL")
    _run(root)
    _electrons(frame, force_eval.ensure("DFT"))
    _structure(frame, force_eval, settings)
    stress = _prints(force_eval, stress and all(frame.get("pbc") or [False]))
    return root.render(), stress


def _run(root: Section) -> None:
    if not root.sections("GLOBAL"):
        root.items.insert(0, Section("GLOBAL", "", root.line))
    run = root.ensure("GLOBAL")
    run.put("PRINT_LEVEL", "MEDIUM")  # below it the log does not say whether the SCF converged
    run.put("RUN_TYPE", "ENERGY_FORCE")
    run.put("PROJECT", PROJECT)


def _electrons(frame: Frame, dft: Section) -> None:
    """Charge and multiplicity of the frame over those of the template.

    CP2K ignores a multiplicity in a restricted calculation without a word, so one above 1 turns UKS on.
    """
    charge, multiplicity = frame.get("charge"), frame.get("multiplicity")
    if charge is not None:
        dft.put("CHARGE", str(int(charge)))
    if multiplicity is not None:
        dft.put("MULTIPLICITY", str(int(multiplicity)), "MULTIP")
    if int(dft.word("MULTIPLICITY", "MULTIP") or 0) > 1 and not dft.flag(*UKS) and not dft.flag(*ROKS):
        dft.put("UKS", "T", *UKS)


def solver(force_eval: Section) -> str | None:
    """The POISSON_SOLVER that a template names; None if it leaves CP2K its default, PERIODIC."""
    poisson = force_eval.find("DFT/POISSON")
    return (poisson.word(*SOLVER) if poisson else "") or None


def formula(symbols: list[str]) -> str:
    """Such as H2O1, whatever the order of the atoms."""
    return "".join(f"{symbol}{count}" for symbol, count in sorted(Counter(symbols).items()))


class Placing:
    """Puts frames into boxes, and their atoms to their kinds."""

    def __init__(self, force_eval: Section, settings: Settings) -> None:
        self._wishes = Wishes(
            solver=solver(force_eval),
            edge=settings.get("box"),
            cell=settings.get("cell"),
            periodic=settings.get("periodic", ""),
            centre=settings.get("centre"),
            fixed=next((f"&{s.name}" for s in force_eval.walk() if s.name in FIXED), ""),
        )
        self._cubes = settings.get("cubes", {})
        self._order = atoms.Order(force_eval, settings)

    def __call__(self, frame: Frame) -> tuple[Box, list[str]]:
        """The box of a frame, and the kind of each of its atoms. Raises Impossible."""
        pbc = [bool(x) for x in frame.get("pbc") or [False] * 3]
        try:
            names = self._order.names(frame["symbols"])
        except ValueError as error:
            raise Impossible(str(error), "use a separate template for frames with other atoms") from None
        wishes = replace(self._wishes, cube=self._cubes.get(formula(frame["symbols"])))
        return box(frame["positions"], frame.get("cell"), pbc, wishes), names


def cube(frame: Frame, settings: Settings) -> float | None:
    """Å: the edge of the cube that this frame gets for want of a cell. Raises Impossible."""
    force_eval = template.only(template.parse(settings["template"], "template"), "FORCE_EVAL")
    return Placing(force_eval, settings)(frame)[0].edge


def _structure(frame: Frame, force_eval: Section, settings: Settings) -> None:
    placed, names = Placing(force_eval, settings)(frame)
    if placed.periodic == "NONE":
        _without_lattice_sums(force_eval)
    poisson = force_eval.ensure("DFT/POISSON")
    poisson.put("POISSON_SOLVER", placed.solver, *SOLVER)
    poisson.put("PERIODIC", placed.periodic)
    subsys = force_eval.ensure("SUBSYS")
    cell = subsys.ensure("CELL")
    cell.put("PERIODIC", placed.periodic)
    for name, vector in zip("CBA", reversed(placed.cell), strict=True):
        cell.put(name, _numbers(vector))
    molecules = settings.get("molecules") or [""] * len(names)
    coord = Section("COORD", "", subsys.line)
    for name, row, molecule in zip(names, placed.positions, molecules, strict=True):
        coord.items.append(Keyword(name, f"{_numbers(row)} {molecule}".rstrip(), subsys.line))
    subsys.items.append(coord)


def _without_lattice_sums(force_eval: Section) -> None:
    """Tight binding sums over the atoms of a molecule; its Ewald sums crash with a solver for one (2023.1)."""
    for name in ("XTB", "DFTB"):
        section = force_eval.find(f"DFT/QS/{name}")
        if section is not None and section.flag("DO_EWALD"):
            section.put("DO_EWALD", "F")


def _numbers(row: list[float]) -> str:
    return " ".join(repr(float(x)) for x in row)


def _prints(force_eval: Section, stress_too: bool) -> bool:
    """Ask for forces in full digits, and for the stress where there is one; a template that says NONE gets none."""
    stress = (force_eval.word("STRESS_TENSOR") or "ANALYTICAL") if stress_too else "NONE"
    force_eval.put("STRESS_TENSOR", stress)
    force_eval.ensure("PRINT/FORCES").parameter = "ON"
    force_eval.ensure("PRINT/FORCES").put("NDIGITS", DIGITS)
    if force_eval.find("DFT/SCCS") is not None:
        force_eval.ensure("DFT/PRINT/SCCS").parameter = "ON"  # or the log does not say whether the solvent converged
        force_eval.ensure("DFT/PRINT/SCCS/EACH").put("QS_SCF", "1")
    if stress != "NONE":
        force_eval.ensure("PRINT/STRESS_TENSOR").parameter = "ON"
    return stress != "NONE"


__all__ = ["PROJECT", "Impossible", "Placing", "build", "cube", "formula", "solver"]
