"""The velocities that a frame has, whatever its columns call them.

`momenta` and `velocities` are in ASE's units, sqrt(u·eV) and sqrt(eV/u); `vel` (GPUMD) and `velo` (QUIP) in Å/fs, as
the programs that write these names have them.
"""

from __future__ import annotations

import math
from itertools import chain
from typing import TYPE_CHECKING

from psiflow_cli.elements import SYMBOLS
from psiflow_cli.extxyz.frame import Frame

if TYPE_CHECKING:
    from psiflow_cli.messages import Vectors

FEMTOSECOND = 0.09822694788464063
"""In ASE's unit of time, Å·sqrt(u/eV): ase.units.fs."""
UNITS = {"momenta": "sqrt(u·eV)", "velocities": "sqrt(eV/u), as ASE has them", "vel": "Å/fs", "velo": "Å/fs"}
"""The columns and their units; the first that a frame has is taken."""
_TOLERANCE = 1e-3  # of the largest value: files differ in their digits, and programs in their constants
_MASSES = (0.9, 3.1)  # u for each proton, of any isotope: a momentum over a velocity beyond is in another unit


def velocities(frame: Frame) -> tuple[str, Vectors]:
    """The column, and its values in ASE's units: momenta if it is `momenta`, else velocities. ("", []) without one.

    Values that are all zero count as none: programs write them where nothing moves. Raises BadData for a column that
    is none of vectors, and for two that differ.
    """
    columns = {name: values for name in UNITS if frame.layout.find(name) and (values := _read(frame, name))}
    if not columns:
        return "", []
    first, *others = columns
    for other in others:
        if not _agree(frame, first == "momenta", columns[first], columns[other]):
            units = ", ".join(f"{name} in {UNITS[name]}" for name in (first, other))
            raise frame.place.error(f"{first} and {other} differ", f"remove the wrong one; they are read as {units}", 1)
    return first, columns[first]


def _read(frame: Frame, name: str) -> Vectors:
    column = frame.layout.find(name)
    if column is None or column.kind not in "RI" or column.size != 3:
        raise frame.place.error(f"{name} is not a column of vectors", f"it is {name}:R:3 in {UNITS[name]}", 1)
    scale = 1.0 / FEMTOSECOND if name in ("vel", "velo") else 1.0
    values = [[scale * float(x) for x in row] for row in frame.column(name)]
    for atom, row in enumerate(values):
        if not all(map(math.isfinite, row)):
            raise frame.place.error(f"atom {atom + 1}: {name} is not finite", "remove the frame", 2 + atom)
    return values if any(map(any, values)) else []


def _agree(frame: Frame, are_momenta: bool, one: Vectors, other: Vectors) -> bool:
    """Whether the velocities of two columns are the same; momenta are compared by the mass that they imply."""
    if not are_momenta:
        return _near(one, other)
    masses: list[float] = []
    own = frame.column("masses") if frame.layout.find("masses") else None
    for atom, (momentum, velocity) in enumerate(zip(one, other, strict=True)):
        protons = SYMBOLS.index(frame.symbols[atom]) + 1
        square = sum(v * v for v in velocity)
        implied = sum(p * v for p, v in zip(momentum, velocity, strict=True)) / square if square else 0.0
        masses.append(float(own[atom]) if own else implied)
        if square and not (own or _MASSES[0] < implied / protons < _MASSES[1]):
            return False
    return _near(one, [[mass * v for v in row] for mass, row in zip(masses, other, strict=True)])


def _near(one: Vectors, other: Vectors) -> bool:
    values, others = list(chain.from_iterable(one)), list(chain.from_iterable(other))
    most = max(map(abs, values)) * _TOLERANCE
    return all(abs(x - y) <= most for x, y in zip(values, others, strict=True))
