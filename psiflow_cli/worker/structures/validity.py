"""Whether a frame can be computed at all: the checks that every reference and every model shares."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from psiflow_cli.elements import SYMBOLS
from psiflow_cli.errors import counted
from psiflow_cli.worker.structures.conversion import to_ase
from psiflow_cli.worker.structures.near_pairs import across, near_pairs

if TYPE_CHECKING:
    from psiflow_cli.messages import Frame

CLOSEST = 0.1  # Å: atoms nearer than this are an error in the frame, not chemistry


def invalid(frame: Frame) -> str:
    """Why no method could label this frame, or "": shape, NaN, charge, cell, atoms (or their images) that coincide."""
    symbols, positions, cell = frame["symbols"], frame["positions"], frame.get("cell")
    pbc = frame.get("pbc") or [False] * 3
    if not symbols:
        return "the frame has no atoms"
    if len(positions) != len(symbols) or any(len(row) != 3 for row in positions):
        return f"{counted(len(positions), 'position')} for {counted(len(symbols), 'atom')}"
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
    return sorted(elements - set(SYMBOLS[: SYMBOLS.index(last) + 1]))


def not_a_molecule(frame: Frame, code: str) -> str:
    """Why a code for molecules cannot label this frame, or "": periodicity, or a multiplicity that cannot be."""
    from ase.data import atomic_numbers

    if any(frame.get("pbc") or ()):
        return f"{code} supports only molecules here, but the frame is periodic"
    electrons = sum(atomic_numbers[symbol] for symbol in frame["symbols"]) - (frame.get("charge") or 0)
    multiplicity = frame.get("multiplicity") or 1
    if (electrons - multiplicity) % 2 == 0 or multiplicity > electrons + 1:
        stated = f"multiplicity {multiplicity}" if "multiplicity" in frame else "a frame without a multiplicity (1)"
        return f"{stated} is impossible for {electrons} electrons"
    return ""


def _electrons(frame: Frame) -> str:
    from ase.data import atomic_numbers

    numbers = [atomic_numbers.get(symbol, 0) for symbol in frame["symbols"]]
    if not all(numbers):
        return f"unknown element {frame['symbols'][numbers.index(0)]!r}"
    charge = frame.get("charge") or 0
    return f"charge {charge} removes more electrons than there are" if charge > sum(numbers) else ""


def _overlap(frame: Frame) -> str:
    import numpy as np

    system = to_ase(frame)
    if any(system.pbc) and np.linalg.matrix_rank(system.cell.array[system.pbc], tol=1e-6) < sum(system.pbc):
        return "the frame is periodic but its cell has no volume"
    first, second, distance = near_pairs(system, CLOSEST)
    if not len(distance):
        return ""
    k = int(distance.argmin())
    i, j = sorted((int(first[k]), int(second[k])))
    names = f"{frame['symbols'][i]} (atom {i + 1}) and {frame['symbols'][j]} (atom {j + 1})"
    if i == j:
        return f"atom {i + 1} is {distance[k]:.3f} Å from its image"
    return f"{names} are {distance[k]:.3f} Å apart{across(system, i, j, distance[k])}"
