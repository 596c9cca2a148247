"""Which box, which Poisson solver: what a frame's periodicity means for CP2K.

The frame says in which directions it is periodic, and its own cell is kept. A frame that is periodic in no direction
and has none gets that of a template for molecules (`PERIODIC NONE` in its &CELL); without one it is centred in a cube
with an even number of Å for its edge, the same for all frames of these atoms that are labelled together. A template's
own solver is kept where it allows the periodicity; the 3D-periodic one gives way to WAVELET for molecules and to
ANALYTIC for slabs and wires.

A cell without room enough is refused: WAVELET wants the density to vanish at the faces, the other solvers want twice
the extent of the density. It is taken all the same, with a warning, if the template names the solver and its &CELL has
the periodicity of the frame: then whoever wrote it has chosen cells for this purpose, and the atoms' place in them.
Otherwise atoms that are near a face are moved to the middle for WAVELET.
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
_NO_VOLUME = 1e-9
_ELSEWHERE = (
    "make it a cube with --set box=EDGE; or set PERIODIC NONE in the &CELL of the input and a POISSON_SOLVER to use "
    "the cell as it is"
)
_WIDER = (
    "give it a higher cell; or set the same PERIODIC in the &CELL of the input and a POISSON_SOLVER to use the cell as "
    "it is"
)
_CUBIC = "make it a cube with --set box=EDGE; or set POISSON_SOLVER MT or ANALYTIC, which take any rectangular cell"


class Impossible(ValueError):
    """This frame cannot be computed with this template."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(f"{reason}; {hint}" if hint else reason)
        self.reason, self.hint = reason, hint


@dataclass(frozen=True)
class Wishes:
    """What a template and its options say of boxes: the solver, `box=`, &CELL and &CENTER_COORDINATES, in Å."""

    solver: str | None = None
    edge: float | None = None
    cube: float | None = None
    """The edge that suits all frames of the same atoms, for one without a cell."""
    cell: Vectors | None = None
    periodic: str = ""
    """What &CELL says, if there is one."""
    centre: list[float] | None = None
    """Where the atoms are moved to; []: the middle of the cell."""
    fixed: str = ""
    """What in the template has a place of its own in space, such as &EXTERNAL_POTENTIAL."""


@dataclass(frozen=True)
class Box:
    """Cell vectors and positions in Å, and the words for &CELL and &POISSON."""

    cell: Vectors
    positions: Vectors
    periodic: str
    solver: str
    edge: float | None = None
    """Å: of a cube that is neither the frame's nor the template's."""
    tight: str = ""
    """How its cell is smaller than the solver should have it."""
    shifted: bool = False
    """Whether the atoms were moved in their own cell, because WAVELET has no room for them where they were."""


def box(positions: Vectors, cell: Vectors | None, pbc: list[bool], wishes: Wishes) -> Box:
    """The box for a frame. Raises Impossible."""
    periodic = "".join(axis for axis, on in zip("XYZ", pbc, strict=True) if on) or "NONE"
    solver = _solver(periodic, wishes.solver)
    if all(pbc):
        return Box(cell or [], _moved(positions, cell or [], wishes), periodic, solver)
    if any(pbc) and cell is None:
        raise Impossible("the frame is periodic but has no cell")
    own = cell if any(pbc) or (cell and abs(_volume(cell)) > _NO_VOLUME) else wishes.cell
    if own is None or (wishes.edge is not None and not any(pbc)):
        edge = max(_edge(positions, solver, wishes.edge), (wishes.edge is None and wishes.cube) or 0.0)
        cube = [[edge if i == j else 0.0 for j in range(3)] for i in range(3)]
        return Box(cube, _centred(positions, cube, [0, 1, 2], wishes), periodic, solver, edge=edge)
    tight = _tight(positions, own, pbc, solver)
    if tight and (wishes.periodic != periodic or solver != wishes.solver):
        raise Impossible(tight, _ELSEWHERE if periodic == "NONE" else _WIDER)
    if wishes.centre is not None:
        return Box(own, _moved(positions, own, wishes), periodic, solver, tight=tight)
    outside = [] if solver != "WAVELET" else [i for i in range(3) if not pbc[i] and not _inside(positions, own, i)]
    if outside and own is cell and (wishes.solver, wishes.periodic) == (solver, periodic):
        tight = tight or f"atoms are less than {MARGIN:g} Å from a face of the cell, where WAVELET cuts the density off"
        return Box(own, positions, periodic, solver, tight=tight)
    centred = _centred(positions, own, outside, wishes)
    return Box(own, centred, periodic, solver, tight=tight, shifted=bool(outside))


def _solver(periodic: str, own: str | None) -> str:
    default = DEFAULT_SOLVER[0 if periodic == "NONE" else len(periodic)]
    if own is None or (own == "PERIODIC" and periodic != "XYZ"):
        return default
    if own in ALLOWED and periodic not in ALLOWED[own]:
        raise Impossible(f"the template's POISSON_SOLVER {own} does not support frames that are periodic in {periodic}")
    return own


def _room(extent: float, solver: str) -> float:
    """The least edge in Å for atoms that span `extent`."""
    return extent + 2 * MARGIN if solver == "WAVELET" else 2 * (extent + TAIL.get(solver, 2.0))


def _edge(positions: Vectors, solver: str, edge: float | None) -> float:
    """Å: of the cube that the user wants, or of one of our own."""
    extents = [max(column) - min(column) for column in zip(*positions, strict=True)]
    needed = max(_room(extent, solver) for extent in extents)
    if edge is None:
        halves: int = math.ceil(max(needed, max(extents) + 2 * CUBE_MARGIN) / 2.0)
        return 2.0 * halves
    if edge < needed:
        raise Impossible(f"box={edge} is too small: the frame needs {needed:.1f} Å with the solver {solver}")
    return edge


def _volume(cell: Vectors) -> float:
    return sum(x * y for x, y in zip(cell[0], _cross(cell[1], cell[2]), strict=True))


def _cross(a: list[float], b: list[float]) -> list[float]:
    return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]


def _along(positions: Vectors, cell: Vectors, axis: int) -> tuple[float, float, float]:
    """The height of the cell along an open axis, and the least and the greatest coordinate of the atoms along it, Å."""
    normal = _cross(cell[(axis + 1) % 3], cell[(axis + 2) % 3])
    length = math.hypot(*normal)
    if length < _NO_VOLUME or abs(_volume(cell)) < _NO_VOLUME:
        raise Impossible("the frame's cell has no volume")
    normal = [x / length for x in normal]
    along = [sum(x * n for x, n in zip(row, normal, strict=True)) for row in positions]
    return sum(x * n for x, n in zip(cell[axis], normal, strict=True)), min(along), max(along)


def _tight(positions: Vectors, cell: Vectors, pbc: list[bool], solver: str) -> str:
    """Why the cell is not one for this solver, if it is not. Raises Impossible if CP2K could not even compute in it."""
    reason = ""
    edges = [cell[i][i] for i in range(3)]
    straight = all(abs(cell[i][j]) < _NO_VOLUME for i in range(3) for j in range(3) if i != j)
    if not any(pbc) and not (straight and min(edges) > 0):
        reason = f"the solver {solver} needs a rectangular cell, which this is not"
    if not any(pbc) and solver == "WAVELET" and (reason or max(edges) - min(edges) > _NO_VOLUME):
        raise Impossible("the solver WAVELET needs a cubic cell, which this is not", _CUBIC)
    for axis in (i for i in range(3) if not pbc[i]):
        height, low, high = _along(positions, cell, axis)
        needed = _room(high - low, solver)
        if high - low >= abs(height):
            raise Impossible(
                f"the atoms span {high - low:.1f} Å along {'XYZ'[axis]}, but the cell only {abs(height):.1f} Å"
            )
        if abs(height) < needed - _NO_VOLUME:
            reason = reason or (
                f"the cell is {abs(height):.1f} Å high along its open axis {'XYZ'[axis]}; "
                f"the solver {solver} needs {needed:.1f} Å"
            )
    return reason


def _inside(positions: Vectors, cell: Vectors, axis: int) -> bool:
    height, low, high = _along(positions, cell, axis)
    return low >= MARGIN and high <= abs(height) - MARGIN


def _centred(positions: Vectors, cell: Vectors, axes: list[int], wishes: Wishes) -> Vectors:
    """Positions moved halfway along these axes. Raises Impossible if the template has something that stays behind."""
    for axis in axes:
        height, low, high = _along(positions, cell, axis)
        shift = 0.5 - (high + low) / 2 / height
        if wishes.fixed and abs(shift * height) > _NO_VOLUME:
            away = f"away from the template's {wishes.fixed}"
            raise Impossible(f"the atoms must be moved to the middle of the cell, {away}", "centre the frame yourself")
        positions = [[x + shift * c for x, c in zip(row, cell[axis], strict=True)] for row in positions]
    return positions


def _moved(positions: Vectors, cell: Vectors, wishes: Wishes) -> Vectors:
    """Positions as CP2K centres them: the middle of their extent goes to a point (topology_coordinate_util.F)."""
    if wishes.centre is None:
        return positions
    point = wishes.centre or [cell[i][i] / 2 for i in range(3)]
    shift = [p - (max(x) + min(x)) / 2 for p, x in zip(point, zip(*positions, strict=True), strict=True)]
    return [[x + s for x, s in zip(row, shift, strict=True)] for row in positions]
