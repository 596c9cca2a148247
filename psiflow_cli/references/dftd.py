"""Grimme's dispersion corrections alone, D3 and D4, as a functional needs them: to be added, or to be learnt.

They are computed in the worker's own process by the libraries s-dftd3 and dftd4, in atomic units.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from psiflow_cli import inputs, voigt
from psiflow_cli.errors import BadData, UsageError
from psiflow_cli.worker.failures import Fatal, failure
from psiflow_cli.worker.structures import conversion, labels, validity

SUMMARY = "the dispersion correction alone (D3, D4) of a functional"
REQUIRES = ("dftd3", "dftd4", "ase")
FRAME_INPUTS = ("charge",)
DEFAULT_TASK_SECONDS = 1.0

_DAMPING = {
    "d3bj": "RationalDampingParam",
    "d3zero": "ZeroDampingParam",
    "d3mbj": "ModifiedRationalDampingParam",
    "d3mzero": "ModifiedZeroDampingParam",
    "d3op": "OptimizedPowerDampingParam",
}
"""The classes of s-dftd3's Python interface."""
OPTIONS: dict[str, inputs.Kind] = {"version": (*_DAMPING, "d4"), "xc": str, "atm": bool}
_LAST = {"d4": "Rn"}
"""Beyond its elements s-dftd3 gives zeros, or ends the process."""


def settings(input_file: Path | None, options: dict[str, str]) -> dict[str, Any]:
    """The version, the functional that it corrects, and whether D3 has three-body terms (D4 always has)."""
    if input_file is not None:
        raise UsageError("the reference dftd reads no input file", "leave --input out and use --set xc=pbe")
    return _sensible({"version": "d4", **inputs.options(None, options, OPTIONS, "dftd")})


def _sensible(found: dict[str, Any]) -> dict[str, Any]:
    if "xc" not in found:
        raise UsageError("the reference dftd needs to know the functional", "--set xc=pbe")
    if found["version"] == "d4" and "atm" in found:
        raise UsageError("atm has no meaning with version=d4", "leave it out")
    return {**found, "xc": found["xc"].lower()} if found["version"] == "d4" else {"atm": False, **found}


def check(settings: dict[str, Any], elements: set[str]) -> None:
    """Raise BadData for elements without parameters."""
    last = _LAST.get(settings["version"], "Pu")
    for element in validity.beyond(elements, last):
        raise BadData(f"{settings['version']} has no parameters for {element}", f"it goes from H to {last}")


def label(frames: list[dict[str, Any]], settings: dict[str, Any], context: dict[str, Any]) -> list[dict[str, Any]]:
    """*worker*: a label or a failure for each frame, in order. Raises Fatal for a functional without parameters."""
    os.environ.setdefault("OMP_NUM_THREADS", str(context.get("threads") or 1))
    try:
        damping = _damping(settings)
    except RuntimeError as error:
        message = f"{settings['version']} has no parameters for xc={settings['xc']}: {error}"
        raise Fatal(message, "see the documentation of s-dftd3 and dftd4", exit_code=65) from None
    return [_label(frame, settings, damping) for frame in frames]


def changed(settings: dict[str, Any], changes: dict[str, str]) -> dict[str, Any]:
    """The settings with other parameters."""
    return _sensible({**settings, **inputs.options(None, changes, OPTIONS, "dftd")})


def code(context: dict[str, Any]) -> str:
    """*worker*: the codes and their versions, as labels carry them."""
    from importlib.metadata import version

    return f"s-dftd3 {version('dftd3')}, dftd4 {version('dftd4')}"


def _damping(settings: dict[str, Any]) -> Any:
    if settings["version"] == "d4":
        from dftd4.interface import DampingParam

        return DampingParam(method=settings["xc"])
    from dftd3 import interface

    return getattr(interface, _DAMPING[settings["version"]])(method=settings["xc"], atm=settings["atm"])


def _label(frame: dict[str, Any], settings: dict[str, Any], damping: Any) -> dict[str, Any]:
    import dftd3.interface
    import dftd4.interface
    from ase.units import Bohr, Hartree

    reason = validity.invalid(frame)
    unknown = validity.beyond(set(frame["symbols"]), _LAST.get(settings["version"], "Pu"))
    if reason or unknown:
        return failure("invalid-input", reason or f"{settings['version']} has no parameters for {', '.join(unknown)}")
    system = conversion.to_ase(frame)
    periodic = bool(any(system.pbc))
    box = {"lattice": system.cell.array / Bohr, "periodic": system.pbc} if periodic else {}
    try:
        if settings["version"] == "d4":
            charge = float(frame.get("charge") or 0)
            model = dftd4.interface.DispersionModel(system.numbers, system.positions / Bohr, charge=charge, **box)
        else:
            model = dftd3.interface.DispersionModel(system.numbers, system.positions / Bohr, **box)
        found = model.get_dispersion(damping, grad=True)
    except RuntimeError as error:
        return failure("crashed", str(error))
    # The virial is the derivative of the energy with respect to the strain: ASE's sign once over the volume.
    stress = voigt.from_matrix(found["virial"] * Hartree / system.get_volume()) if all(system.pbc) else None
    forces = -found["gradient"] * Hartree / Bohr
    return labels.label(frame, float(found["energy"]) * Hartree, forces.tolist(), stress, code({}))
