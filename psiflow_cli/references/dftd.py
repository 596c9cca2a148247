"""Grimme's dispersion corrections alone, D3 and D4, as a functional needs them: to be added, or to be learnt.

They are computed in the worker's own process by the libraries s-dftd3 and dftd4, in atomic units.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from psiflow_cli import inputs, voigt
from psiflow_cli.errors import BAD_DATA, BadData, UsageError
from psiflow_cli.worker.failures import Fatal, failure
from psiflow_cli.worker.structures import conversion, labels, validity

if TYPE_CHECKING:
    from dftd3.interface import DampingParam as DampingD3
    from dftd4.interface import DampingParam as DampingD4
    from typing_extensions import NotRequired

    from psiflow_cli.messages import Context, Frame, LabelResult

SUMMARY = "only the dispersion correction (D3, D4) of a functional"
REQUIRES = ("dftd3", "dftd4", "ase")
FRAME_INPUTS = ("charge",)
DEFAULT_TASK_SECONDS = 1.0
IN_PROCESS = True

_DAMPING = {
    "d3bj": "RationalDampingParam", "d3zero": "ZeroDampingParam", "d3mbj": "ModifiedRationalDampingParam",
    "d3mzero": "ModifiedZeroDampingParam", "d3op": "OptimizedPowerDampingParam",
}  # fmt: skip
"""The classes of s-dftd3's Python interface."""
OPTIONS: dict[str, inputs.Kind] = {"version": (*_DAMPING, "d4"), "xc": str, "atm": bool}
_LAST = {"d4": "Rn"}  # beyond its elements s-dftd3 gives zeros, or ends the process


class Settings(TypedDict):
    version: str
    xc: str  # the functional
    atm: NotRequired[bool]  # whether D3 has three-body terms; D4 always has


def settings(input_file: Path | None, options: dict[str, str]) -> Settings:
    if input_file is not None:
        raise UsageError("the reference dftd reads no input file", "leave out --input and use --set xc=pbe")
    return _sensible({"version": "d4", **inputs.options(None, _named(options), OPTIONS, "dftd")})


def _named(options: dict[str, str]) -> dict[str, str]:
    """With `d3` as what people call it: with the damping of Becke and Johnson."""
    d3 = options.get("version", "").lower() in ("d3", "d3(bj)", "d3-bj")
    return {**options, "version": "d3bj"} if d3 else options


def _sensible(options: Mapping[str, object]) -> Settings:
    if "xc" not in options:
        raise UsageError("the reference dftd needs the functional", "--set xc=pbe")
    if options["version"] == "d4" and "atm" in options:
        raise UsageError("atm has no effect with version=d4", "leave it out")
    if options["version"] == "d4":
        return {"version": "d4", "xc": str(options["xc"]).lower()}
    return {"atm": bool(options.get("atm")), "version": str(options["version"]), "xc": str(options["xc"])}


def check(settings: Settings, elements: set[str]) -> None:
    """Raise BadData for elements without parameters."""
    last = _LAST.get(settings["version"], "Pu")
    for element in validity.beyond(elements, last):
        raise BadData(f"{settings['version']} has no parameters for {element}", f"it has parameters from H to {last}")


def label(frames: list[Frame], settings: Settings, context: Context) -> list[LabelResult]:
    """*worker*: a label or a failure for each frame, in order. Raises Fatal for a functional without parameters."""
    os.environ.setdefault("OMP_NUM_THREADS", str(context.get("threads") or 1))
    try:
        damping = _damping(settings)
    except RuntimeError as error:
        message = f"{settings['version']} has no parameters for xc={settings['xc']}: {error}"
        raise Fatal(message, "see the documentation of s-dftd3 and dftd4", exit_code=BAD_DATA) from None
    return [_label(frame, settings, damping, context) for frame in frames]


def changed(settings: Settings, changes: dict[str, str]) -> Settings:
    return _sensible({**settings, **inputs.options(None, _named(changes), OPTIONS, "dftd")})


def code(context: Context) -> str:
    from importlib.metadata import version

    return f"s-dftd3 {version('dftd3')}, dftd4 {version('dftd4')}"


def ase_calculator(settings: Settings) -> str:
    """The Python expression for the libraries' own ASE calculators."""
    if settings["version"] == "d4":
        return f"__import__('dftd4.ase', fromlist=['DFTD4']).DFTD4(method={settings['xc']!r})"
    damping = {"method": settings["xc"], "atm": settings["atm"]}
    options = f"damping={settings['version']!r}, params_tweaks={damping!r}"
    return f"__import__('dftd3.ase', fromlist=['DFTD3']).DFTD3({options})"


def _damping(settings: Settings) -> DampingD3 | DampingD4:
    if settings["version"] == "d4":
        from dftd4.interface import DampingParam

        return DampingParam(method=settings["xc"])
    from dftd3 import interface

    return getattr(interface, _DAMPING[settings["version"]])(method=settings["xc"], atm=settings["atm"])


def _label(frame: Frame, settings: Settings, damping: DampingD3 | DampingD4, context: Context) -> LabelResult:
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
        dispersion = model.get_dispersion(damping, grad=True)
    except RuntimeError as error:
        return failure("crashed", str(error))
    # The virial is the derivative of the energy with respect to the strain: ASE's sign once over the volume.
    stress = voigt.from_matrix(dispersion["virial"] * Hartree / system.get_volume()) if all(system.pbc) else None
    forces = -dispersion["gradient"] * Hartree / Bohr
    return labels.label(frame, float(dispersion["energy"]) * Hartree, forces.tolist(), stress, code(context))
