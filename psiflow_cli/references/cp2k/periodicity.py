"""Which box, which Poisson solver: what a frame's periodicity means for CP2K.

A periodic frame keeps its cell. A frame that is periodic in no direction keeps it too, if the solver can use that cell
and it leaves room enough; else it is centred in a cube with an even number of Å for its edge, so that the frames of one
molecule share a grid. Room enough: WAVELET wants the density to vanish at the faces, the other solvers want twice the
extent of the density. A template's own solver is kept where it allows the periodicity; the 3D-periodic one gives way to
WAVELET for molecules and to ANALYTIC for slabs and wires.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psiflow_cli.messages import Vectors

MARGIN = 3.0
"""Å between the outermost nucleus and a face, with which WAVELET is within 1e-5 Ha of the limit for water."""
TAIL = {"ANALYTIC": 3.5}
"""Å that the density counts beyond the outermost nucleus where twice its extent is needed (2 Å for other solvers)."""
CUBE_MARGIN = 4.5
"""Å around the atoms in a cube of our own."""
DEFAULT_SOLVER = {0: "WAVELET", 1: "ANALYTIC", 2: "ANALYTIC", 3: "PERIODIC"}
ALLOWED = {
    "PERIODIC": ("XYZ",),
    "ANALYTIC": ("NONE", "X", "Y", "Z", "XY", "XZ", "YZ", "XYZ"),
    "MT": ("NONE", "XY", "XZ", "YZ"),
    "MULTIPOLE": ("NONE",),
    "WAVELET": ("NONE", "XZ", "XYZ"),
    "IMPLICIT": ("XYZ",),
}
"""The periodicities that CP2K's Poisson solvers implement."""


class Impossible(Exception):
    """This frame cannot be computed with this template."""


@dataclass(frozen=True)
class Box:
    """Cell vectors and positions in Å, and the words for &CELL and &POISSON."""

    cell: Vectors
    positions: Vectors
    periodic: str
    solver: str


def box(positions: Vectors, cell: Vectors | None, pbc: list[bool], solver: str | None, edge: float | None) -> Box:
    """The box for a frame; `solver` is the template's, `edge` the user's cube. Raises Impossible."""
    periodic = "".join(axis for axis, on in zip("XYZ", pbc, strict=True) if on) or "NONE"
    solver = _solver(periodic, solver)
    if all(pbc):
        return Box(cell or [], positions, periodic, solver)
    own = cell
    if not any(pbc):
        cell = _molecule_cell(positions, cell, solver, edge)
    elif cell is None:
        raise Impossible("the frame is periodic but has no cell")
    for axis in range(3):
        if not pbc[axis]:
            positions = _placed(positions, cell, axis, solver, centre=cell is not own)
    return Box(cell, positions, periodic, solver)


def _solver(periodic: str, own: str | None) -> str:
    default = DEFAULT_SOLVER[0 if periodic == "NONE" else len(periodic)]
    if own is None or (own == "PERIODIC" and periodic != "XYZ"):
        return default
    if own in ALLOWED and periodic not in ALLOWED[own]:
        raise Impossible(f"the template's POISSON_SOLVER {own} cannot do a frame that is periodic in {periodic}")
    return own


def _room(extent: float, solver: str) -> float:
    """The least edge in Å for atoms that span `extent`."""
    return extent + 2 * MARGIN if solver == "WAVELET" else 2 * (extent + TAIL.get(solver, 2.0))


def _molecule_cell(positions: Vectors, cell: Vectors | None, solver: str, edge: float | None) -> Vectors:
    extents = [max(column) - min(column) for column in zip(*positions, strict=True)]
    needed = [_room(extent, solver) for extent in extents]
    if edge is not None:
        if edge < max(needed):
            raise Impossible(f"box={edge} is too small: the frame needs {max(needed):.1f} Å with the solver {solver}")
        return _cube(edge)
    if cell is not None and _usable(cell, needed, solver):
        return cell
    return _cube(2.0 * math.ceil(max(*needed, max(extents) + 2 * CUBE_MARGIN) / 2.0))


def _cube(edge: float) -> Vectors:
    return [[edge if i == j else 0.0 for j in range(3)] for i in range(3)]


def _usable(cell: Vectors, needed: list[float], solver: str) -> bool:
    edges = [cell[i][i] for i in range(3)]
    straight = all(abs(cell[i][j]) < 1e-9 for i in range(3) for j in range(3) if i != j)
    cubic = max(edges) - min(edges) < 1e-9
    return straight and all(e >= n for e, n in zip(edges, needed, strict=True)) and (cubic or solver != "WAVELET")


def _placed(positions: Vectors, cell: Vectors, axis: int, solver: str, centre: bool) -> Vectors:
    """Positions as they are, or halfway along an open axis: in a cell of ours, or where WAVELET needs it.

    Raises Impossible if there is no room.
    """
    a, b = cell[(axis + 1) % 3], cell[(axis + 2) % 3]
    normal = [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
    length = math.hypot(*normal)
    if length < 1e-9:
        raise Impossible("the frame's cell has no volume")
    normal = [x / length for x in normal]
    height = sum(x * n for x, n in zip(cell[axis], normal, strict=True))
    along = [sum(x * n for x, n in zip(row, normal, strict=True)) for row in positions]
    needed = _room(max(along) - min(along), solver)
    if abs(height) < needed - 1e-9:
        raise Impossible(
            f"the cell is {abs(height):.1f} Å high along its open axis {'XYZ'[axis]}; "
            f"the solver {solver} needs {needed:.1f} Å"
        )
    inside = min(along) >= MARGIN and max(along) <= abs(height) - MARGIN
    if not centre and (inside or solver != "WAVELET"):
        return positions
    shift = 0.5 - (max(along) + min(along)) / 2 / height
    return [[x + shift * c for x, c in zip(row, cell[axis], strict=True)] for row in positions]
