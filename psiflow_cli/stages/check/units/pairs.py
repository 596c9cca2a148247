"""Similar frames, and how energies and forces change between them."""

from __future__ import annotations

import math
from typing import NamedTuple

from psiflow_cli import voigt
from psiflow_cli.extxyz import layout
from psiflow_cli.extxyz.layout import Cell
from psiflow_cli.stages.check.sample import Sample

_WINDOW = 6  # each frame is compared with so many before it
_MOVED = 1e-6  # Å, the same: below this, nothing has moved but the cell
_NEAR = 0.7  # Å, root mean square: frames that are further apart are not similar

Vector = tuple[float, float, float]


class Pair(NamedTuple):
    distance: float  # Å, root mean square
    energy: float  # the difference of the energies
    work: float  # minus the mean force times the displacement
    stiffness: float  # size of the change of the forces over that of the displacement; 0 where nothing moved
    same_cell: bool  # if not, the stress did work, too: the energy is not to be compared
    strain_work: float  # stress times volume and strain; nan where the cell is the same, or a frame has no stress


class _Last(NamedTuple):
    symbols: list[str]
    lattice: Cell | None
    xyz: list[list[float]]
    energy: float
    forces: list[list[float]]
    stress: list[float] | None


class Neighbours:
    def __init__(self) -> None:
        self._recent: list[_Last] = []

    def nearest(self, sample: Sample) -> Pair | None:
        """The frame with the most similar of those before it, if one is similar; it needs energy and forces."""
        frame = sample.frame
        last = _Last(frame.symbols, frame.lattice, frame.xyz, sample.energy or 0.0, sample.forces or [], sample.stress)
        alike = [each for each in self._recent if each.symbols == last.symbols]
        self._recent = [*self._recent[1 - _WINDOW :], last]
        return min(filter(None, (_pair(each, last, frame.periodic) for each in alike)), default=None)


def regression(points: list[tuple[float, float]]) -> tuple[float, float]:
    """The slope of the second over the first, and the correlation of the two (about zero)."""
    first, second = (math.fsum(point[k] ** 2 for point in points) for k in (0, 1))
    across = math.fsum(x * y for x, y in points)
    if not first or not second:
        return 1.0, 0.0
    return across / first, across / math.sqrt(first * second)


def _pair(one: _Last, two: _Last, periodic: tuple[bool, bool, bool]) -> Pair | None:
    """Two frames of the same atoms, or None if they are far apart; the first is strained to the cell of the second."""
    start, same_cell = one.xyz, True
    if any(periodic) and one.lattice != two.lattice:
        if one.lattice is None or two.lattice is None or _far(one.lattice, two.lattice):
            return None
        start, same_cell = _strained(one.xyz, one.lattice, two.lattice), False
    shifts = [[b - a for a, b in zip(x, y, strict=True)] for x, y in zip(start, two.xyz, strict=True)]
    if two.lattice is not None and any(periodic):
        shifts = shortest(shifts, two.lattice, periodic)
    means = [math.fsum(shift) / len(shift) for shift in shifts]
    squares = sum((x - mean) ** 2 for shift, mean in zip(shifts, means, strict=True) for x in shift)
    distance = math.sqrt(squares / len(one.symbols))
    strain_work = _strain_work(one, two)
    if distance > _NEAR or (distance < _MOVED and math.isnan(strain_work)):
        return None
    work = changes = 0.0
    for place, (before, after) in enumerate(zip(one.forces, two.forces, strict=True)):
        for axis in range(3):
            work -= (before[axis] + after[axis]) / 2 * shifts[axis][place]
            changes += (after[axis] - before[axis]) ** 2
    stiffness = math.sqrt(changes / squares) if distance > _MOVED else 0.0
    return Pair(distance, two.energy - one.energy, work, stiffness, same_cell, strain_work)


def _strain_work(one: _Last, two: _Last) -> float:
    """Mean stress times volume, times the strain (eV): what the energy changes by where the atoms go with the cell."""
    if one.lattice == two.lattice or not (one.lattice and two.lattice and one.stress and two.stress):
        return math.nan
    across = _reciprocal(one.lattice)
    # the rows of the old cell times this matrix are those of the new one
    change = [[_dot(column, end) for end in zip(*two.lattice, strict=True)] for column in zip(*across, strict=True)]
    volumes = [layout.volume(lattice) for lattice in (one.lattice, two.lattice)]
    strain = voigt.from_matrix([[x - (i == j) for j, x in enumerate(row)] for i, row in enumerate(change)])
    weights = (1, 1, 1, 2, 2, 2)  # of the off-diagonal elements there are two each
    means = [(a * volumes[0] + b * volumes[1]) / 2 for a, b in zip(one.stress, two.stress, strict=True)]
    return math.fsum(w * s * e for w, s, e in zip(weights, means, strain, strict=True))


def _far(one: Cell, two: Cell) -> bool:
    return any(abs(a - b) > _NEAR for old, new in zip(one, two, strict=True) for a, b in zip(old, new, strict=True))


def _strained(xyz: list[list[float]], old: Cell, new: Cell) -> list[list[float]]:
    """The positions with the same place in another cell."""
    across = _reciprocal(old)
    moved = []
    for position in zip(*xyz, strict=True):
        inside = tuple(_dot(position, vector) for vector in across)
        moved.append([_dot(inside, column) for column in zip(*new, strict=True)])
    return list(map(list, zip(*moved, strict=True)))


def shortest(shifts: list[list[float]], lattice: Cell, periodic: tuple[bool, bool, bool]) -> list[list[float]]:
    """The displacements without whole cell vectors."""
    across = _reciprocal(lattice)
    moved = [list(shift) for shift in shifts]
    for place, shift in enumerate(zip(*shifts, strict=True)):
        for vector, other, wraps in zip(lattice, across, periodic, strict=True):
            turns = round(_dot(shift, other)) if wraps else 0
            for axis in range(3) if turns else ():
                moved[axis][place] -= turns * vector[axis]
    return moved


def _reciprocal(lattice: Cell) -> list[Vector]:
    """The vectors whose products with a position are its fractional coordinates."""
    across = [_cross(lattice[(i + 1) % 3], lattice[(i + 2) % 3]) for i in range(3)]
    volume = _dot(lattice[0], across[0])
    return [(x / volume, y / volume, z / volume) for x, y, z in across]


def _dot(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _cross(a: Vector, b: Vector) -> Vector:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
