"""Frames and labels as they cross the wire, and the checks that every reference shares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from psiflow_cli.worker.failures import failure

BOHR = 0.5291772105638411
"""Å: ase.units.Bohr, for where there may be no ASE."""
_SYMBOLS = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb "
    "Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au "
    "Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu"
)
ELEMENTS = tuple(_SYMBOLS.split())
"""From hydrogen to plutonium."""
CLOSEST = 0.1
"""Å: atoms nearer than this are an error in the frame, not chemistry."""


def atoms(frame: dict[str, Any]) -> Any:
    """The frame as `ase.Atoms`, without a calculator."""
    import ase

    return ase.Atoms(
        symbols=frame["symbols"],
        positions=frame["positions"],
        cell=frame.get("cell"),
        pbc=frame.get("pbc") or False,
    )


def masses(frame: dict[str, Any], usual: Any) -> Any:
    """The frame's own masses (u) of its atoms, or of some elements, over the `usual` ones, an array of shape (N,)."""
    import numpy as np

    given = frame.get("masses") or {}
    if isinstance(given, dict):
        return np.array([given.get(symbol, mass) for symbol, mass in zip(frame["symbols"], usual, strict=True)])
    return np.array(given, dtype=float)


def invalid(frame: dict[str, Any]) -> str:
    """Why no method could label this frame, or "": shape, NaN, charge, cell, atoms (or their images) that coincide."""
    symbols, positions, cell = frame["symbols"], frame["positions"], frame.get("cell")
    pbc = frame.get("pbc") or [False] * 3
    if not symbols:
        return "the frame has no atoms"
    if len(positions) != len(symbols) or any(len(row) != 3 for row in positions):
        return f"{len(positions)} positions for {len(symbols)} atoms"
    for index, row in enumerate(positions, 1):
        if not all(map(math.isfinite, row)):
            return f"position of atom {index} ({symbols[index - 1]}) is not finite"
    multiplicity = frame.get("multiplicity")
    if multiplicity is not None and multiplicity < 1:
        return f"multiplicity {multiplicity} is below 1"
    if any(pbc) and (cell is None or not all(math.isfinite(x) for row in cell for x in row)):
        return "the frame is periodic but its cell is missing or not finite"
    return _electrons(frame) or _overlap(frame)


def beyond(elements: set[str], last: str) -> list[str]:
    """Those that are no elements up to `last`, sorted."""
    return sorted(elements - set(ELEMENTS[: ELEMENTS.index(last) + 1]))


def not_a_molecule(frame: dict[str, Any], code: str) -> str:
    """Why a code for molecules cannot label this frame, or "": periodicity, or a multiplicity that cannot be."""
    from ase.data import atomic_numbers

    if any(frame.get("pbc") or ()):
        return f"{code} is used for molecules here, and the frame is periodic"
    electrons = sum(atomic_numbers[symbol] for symbol in frame["symbols"]) - (frame.get("charge") or 0)
    multiplicity = frame.get("multiplicity") or 1
    if (electrons - multiplicity) % 2 == 0 or multiplicity > electrons + 1:
        stated = f"multiplicity {multiplicity}" if "multiplicity" in frame else "a frame without a multiplicity (1)"
        return f"{stated} is impossible for {electrons} electrons"
    return ""


def _electrons(frame: dict[str, Any]) -> str:
    from ase.data import atomic_numbers

    numbers = [atomic_numbers.get(symbol, 0) for symbol in frame["symbols"]]
    if not all(numbers):
        return f"unknown element {frame['symbols'][numbers.index(0)]!r}"
    charge = frame.get("charge") or 0
    return f"charge {charge} takes more electrons away than there are" if charge > sum(numbers) else ""


def _overlap(frame: dict[str, Any]) -> str:
    import numpy as np
    from ase.neighborlist import neighbor_list

    system = atoms(frame)
    if any(system.pbc) and np.linalg.matrix_rank(system.cell.array[system.pbc], tol=1e-6) < sum(system.pbc):
        return "the frame is periodic but its cell has no volume"
    first, second, distance = neighbor_list("ijd", system, CLOSEST)  # type: ignore[no-untyped-call]
    if not len(distance):
        return ""
    k = int(distance.argmin())
    i, j = sorted((int(first[k]), int(second[k])))
    names = f"{frame['symbols'][i]} (atom {i + 1}) and {frame['symbols'][j]} (atom {j + 1})"
    return f"{names} are {distance[k]:.3f} Å apart" if i != j else f"atom {i + 1} is {distance[k]:.3f} Å from its image"


def label(
    frame: dict[str, Any],
    energy: float,
    forces: Sequence[Sequence[float]],
    stress: Sequence[float] | None,
    code: str,
    log: str = "",
) -> dict[str, Any]:
    """A label (eV, eV/Å, eV/Å³) for the wire, or an `inconsistent` failure if it does not fit the frame."""
    numbers = [energy, *(x for row in forces for x in row), *(() if stress is None else stress)]
    if len(forces) != len(frame["symbols"]) or any(len(row) != 3 for row in forces):
        return failure("inconsistent", f"{len(forces)} forces for {len(frame['symbols'])} atoms", log)
    if not all(map(math.isfinite, numbers)):
        return failure("inconsistent", "the energy, a force or the stress is not a finite number", log)
    return {
        "energy": float(energy),
        "forces": [[float(x) for x in row] for row in forces],
        "stress": None if stress is None else [float(x) for x in stress],
        "code": code,
    }


def voigt(matrix: Any) -> list[float]:
    """A 3x3 stress as ASE orders it, xx, yy, zz, yz, xz, xy, its off-diagonal elements averaged."""
    m = [[float(matrix[i][j]) for j in range(3)] for i in range(3)]
    off = [(m[i][j] + m[j][i]) / 2 for i, j in ((1, 2), (0, 2), (0, 1))]
    return [m[0][0], m[1][1], m[2][2], *off]
