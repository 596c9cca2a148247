"""Semi-empirical tight binding (GFN1-xTB and kin) through the tblite library."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from psiflow_cli import inputs, voigt
from psiflow_cli.errors import BadData, UsageError, nearest
from psiflow_cli.values import quantities
from psiflow_cli.worker.failures import failure
from psiflow_cli.worker.structures import conversion, labels, validity

if TYPE_CHECKING:
    from tblite.interface import Result

    from psiflow_cli.messages import Context, Failure, Frame, LabelResult

SUMMARY = "GFN1-xTB, GFN2-xTB or IPEA1-xTB tight binding with tblite"
REQUIRES = ("tblite", "ase")
FRAME_INPUTS = ("charge", "multiplicity")
DEFAULT_TASK_SECONDS = 1.0
IN_PROCESS = True

METHODS = ("GFN1-xTB", "GFN2-xTB", "IPEA1-xTB")
PERIODIC_METHODS = ("GFN1-xTB",)
OPTIONS = ("method", "accuracy", "electronic_temperature", "max_iterations")
LAST = "Rn"  # the last element that tblite has parameters for


class Settings(TypedDict):
    method: str
    accuracy: float
    electronic_temperature: float  # K
    max_iterations: int


def settings(input_file: Path | None, options: dict[str, str]) -> Settings:
    """The method and its parameters: accuracy (1.0), electronic temperature (300 K), SCF iterations (250)."""
    if input_file is not None:
        raise UsageError("the reference xtb reads no input file", "leave out --input and use --set method=GFN1-xTB")
    return _parsed(options)


def _parsed(options: dict[str, str]) -> Settings:
    inputs.check_options("xtb", options, OPTIONS)
    method = options.get("method", METHODS[0])
    named = {m.lower(): m for known in METHODS for m in (known, known.removesuffix("-xTB"))}
    if method.lower() not in named:
        raise UsageError(f"unknown method {method!r} of the reference xtb", nearest(method, METHODS))
    canonical = named[method.lower()]
    return {
        "method": canonical if canonical in METHODS else f"{canonical}-xTB",
        "accuracy": _positive(options, "accuracy", 1.0),
        "electronic_temperature": _positive(options, "electronic_temperature", 300.0, "K"),
        "max_iterations": _whole(options, "max_iterations", 250),
    }


def changed(settings: Settings, changes: dict[str, str]) -> Settings:
    return _parsed({**{key: str(value) for key, value in settings.items()}, **changes})


def _positive(options: dict[str, str], key: str, default: float, unit: str | None = None) -> float:
    try:
        value = quantities.number(options.get(key, default), unit)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise UsageError(f"{key}={options[key]} of the reference xtb is not a positive number")
    return value


def _whole(options: dict[str, str], key: str, default: int) -> int:
    try:
        return quantities.whole(_positive(options, key, default))
    except ValueError as error:
        raise UsageError(f"{key} of the reference xtb: {error}") from None


def check(settings: Settings, elements: set[str]) -> None:
    """Raise BadData for elements beyond radon, which no xTB method knows."""
    for element in validity.beyond(elements, LAST):
        raise BadData(
            f"{settings['method']} has no parameters for the element {element}", "it has parameters from H to Rn"
        )


def label(frames: list[Frame], settings: Settings, context: Context) -> list[LabelResult]:
    # tblite's threads are fixed when it is loaded, and more than one makes its numbers vary in the last digits.
    os.environ.setdefault("OMP_NUM_THREADS", str(context.get("threads") or 1))
    return [_label(frame, settings, context) for frame in frames]


def code(context: Context) -> str:
    from importlib.metadata import version

    return f"tblite {version('tblite')}"


def ase_calculator(settings: Settings) -> str:
    """The Python expression for tblite's own ASE calculator."""
    options = ", ".join(f"{name}={value!r}" for name, value in settings.items())
    return f"__import__('tblite.ase', fromlist=['TBLite']).TBLite({options}, verbosity=0)"


def _label(frame: Frame, settings: Settings, context: Context) -> LabelResult:
    import numpy as np
    from ase.units import Bohr, Hartree, kB
    from tblite.exceptions import TBLiteRuntimeError
    from tblite.interface import Calculator

    pbc = frame.get("pbc") or [False] * 3
    reason = validity.invalid(frame) or _unsupported(pbc, settings["method"])
    if reason:
        return failure("invalid-input", reason)
    system = conversion.to_ase(frame)
    charge, unpaired = frame.get("charge") or 0, (frame.get("multiplicity") or 1) - 1
    try:
        calculator = Calculator(
            settings["method"], system.numbers, system.positions / Bohr, charge=float(charge), uhf=unpaired,
            lattice=system.cell.array / Bohr if any(pbc) else None, periodic=system.pbc if any(pbc) else None,
        )  # fmt: skip
        calculator.set("verbosity", 0)
        calculator.set("accuracy", settings["accuracy"])
        calculator.set("temperature", settings["electronic_temperature"] * kB / Hartree)
        calculator.set("max-iter", settings["max_iterations"])
        result = calculator.singlepoint()
    except TBLiteRuntimeError as error:
        return _failed(str(error))
    reason = _miscounted(result, charge, unpaired, "multiplicity" in frame)
    if reason:
        return failure("invalid-input", reason)
    stress = None
    if any(pbc):
        # The virial is the derivative of the energy with respect to the strain: ASE's sign once over the volume.
        stress = voigt.from_matrix(np.asarray(result.get("virial")) * Hartree / system.get_volume())
    forces = -np.asarray(result.get("gradient")) * Hartree / Bohr
    energy = float(result.get("energy")) * Hartree
    return labels.label(frame, energy, forces.tolist(), stress, code(context))


def _unsupported(pbc: list[bool], method: str) -> str:
    if any(pbc) and not all(pbc):
        return "tblite supports periodicity in three directions or in none"
    if all(pbc) and method not in PERIODIC_METHODS:
        return f"{method} is for molecules only: use --set method=GFN1-xTB for periodic frames"
    return ""


def _failed(message: str) -> Failure:
    if "not converged" in message:
        return failure("unconverged", message)
    if "not compatible" in message:
        return failure("invalid-input", message)
    return failure("crashed", message)


def _miscounted(result: Result, charge: int, unpaired: int, stated: bool) -> str:
    """What is wrong with charge or multiplicity, or "": tblite itself silently occupies what it can."""
    electrons = round(float(result.get("orbital-occupations").sum()))
    if abs(float(result.get("charges").sum()) - charge) > 1e-3:
        return f"charge {charge} removes more electrons than there are"
    if stated and (unpaired > electrons or (electrons - unpaired) % 2):
        return f"multiplicity {unpaired + 1} is impossible for {electrons} valence electrons"
    return ""
