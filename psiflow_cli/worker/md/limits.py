"""When a walker has left what its model can describe: limits on force, temperature, interatomic distance and cell."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from psiflow_cli.worker.models.expected_error import expected

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms

    from psiflow_cli.messages import Limits, Vectors, Violation
    from psiflow_cli.worker.md.frame_record import Spread

    NeighbourList = Callable[[str, Atoms, float], np.ndarray]

CELL = 10.0
"""A cell whose volume, or width along an axis, has become so many times larger or smaller is lost."""


class CellLost(Exception):
    """A cell that the model is not to be asked about: its atoms' neighbours might not fit into any memory."""

    def __init__(self, violation: Violation) -> None:
        super().__init__(violation["reason"])
        self.violation = violation


def broken_by_step(
    limits: Limits, energy: float, positions: np.ndarray, forces: np.ndarray, temperature: float
) -> Violation | None:
    """What is wrong with this step: a force, the temperature, or something that is no number.

    `positions` (Å) and `forces` (eV/Å) have the shape (N, 3); cheap enough for every step.
    """
    import numpy as np

    largest = math.sqrt(float(np.einsum("ij,ij->i", forces, forces).max()))
    return broken_by_sizes(limits, energy, largest, temperature, float(positions.sum()))


def broken_by_sizes(
    limits: Limits, energy: float, largest: float, temperature: float, total: float
) -> Violation | None:
    """What `broken_by_step` finds where the largest force and the sum of the positions are known."""
    if not math.isfinite(energy + largest + temperature + total):
        sizes = {"energy": energy, "forces": largest, "temperature": temperature, "positions": total}
        for name, size in sizes.items():
            if not math.isfinite(size):
                return {"reason": f"{name} not finite", "kind": "nan"}
    limit = limits.get("force")
    if limit is not None and largest > limit:
        return {"reason": f"force {largest:.4g} eV/Å > {limit:g} eV/Å", "kind": "force"}
    limit = limits.get("temperature")
    if limit is not None and temperature > limit:
        return {"reason": f"temperature {temperature:.4g} K > {limit:g} K", "kind": "temperature"}
    return None


def broken_by_structure(limits: Limits, atoms: Atoms | None, spread: Spread | None) -> Violation | None:
    """What is wrong with one set of positions: a distance, where `atoms` are given, or a committee's spread."""
    largest = max(spread[1], default=0.0) if spread else 0.0
    return (overlap(limits, atoms) if atoms is not None else None) or disagreement(limits, largest, bool(spread))


def disagreement(limits: Limits, largest: float, known: bool = True) -> Violation | None:
    """Whether a committee disagrees by more than `limits["spread"]` (eV/Å) about the force on an atom.

    Where the committee is calibrated, whether the error that is expected from its spread is larger. `known` is False
    for a model alone.
    """
    limit, name = limits.get("spread"), "committee's spread"
    if "error_scale" in limits and known:
        largest, name = expected(largest, limits["error_scale"]), "expected error"
    if limit is None or not largest > limit:
        return None
    return {"reason": f"{name} {largest:.4g} eV/Å > {limit:g} eV/Å", "kind": "spread"}


def overlap(limits: Limits, atoms: Atoms) -> Violation | None:
    """Whether two atoms (or an atom and an image of another) are nearer than `limits["distance"]` (Å)."""
    limit = limits.get("distance")
    if limit is None or len(atoms) < 2:
        return None
    return too_near(limits, _nearest(atoms, limit))


def too_near(limits: Limits, nearest: float) -> Violation | None:
    """Whether this smallest distance (Å) of a walker is below `limits["distance"]`."""
    limit = limits.get("distance")
    if limit is None or not nearest < limit:
        return None
    return {"reason": f"distance {nearest:.4g} Å < {limit:g} Å", "kind": "distance"}


def cell_lost(first: Vectors | np.ndarray, now: np.ndarray) -> Violation | None:
    """Whether a cell has become another thing than it was; both are three vectors in Å."""
    import numpy as np

    before, after = _sizes(np.asarray(first, dtype=float)), _sizes(np.asarray(now, dtype=float))
    for name, old, new in zip(("volume", *(f"width along {axis}" for axis in "abc")), before, after, strict=True):
        if not math.isfinite(new):
            return {"reason": "cell not finite", "kind": "nan"}
        if not old / CELL < new < old * CELL:
            return {"reason": f"the cell's {name} became {new / old:.3g} times as large", "kind": "cell"}
    return None


def check_cell(first: Vectors | np.ndarray | None, now: np.ndarray) -> None:
    """Raise CellLost for a cell that the model is not to be asked about; None for the first one: of any size."""
    if first is not None and (lost := cell_lost(first, now)):
        raise CellLost(lost)


def _sizes(cell: np.ndarray) -> list[float]:
    """The volume (Å³) and the three widths (Å) of a cell, shape (3, 3)."""
    import numpy as np

    with np.errstate(divide="ignore", invalid="ignore"):
        volume = abs(float(np.linalg.det(cell)))
        widths = volume / np.linalg.norm(np.cross(np.roll(cell, -1, axis=0), np.roll(cell, -2, axis=0)), axis=1)
    return [volume, *map(float, widths)]


def _nearest(atoms: Atoms, limit: float) -> float:
    """The smallest distance between atoms (Å), exact where it is below `limit`, at least `limit` otherwise."""
    import numpy as np

    if not atoms.pbc.any():
        tree = importlib.import_module("scipy.spatial").cKDTree(atoms.positions)
        return float(tree.query(atoms.positions, k=2)[0][:, 1].min())
    # Neighbour lists sort atoms into bins as wide as the cut-off: no more bins than atoms, or an empty cell is slow.
    cutoff = max(limit, (atoms.get_volume() / len(atoms)) ** (1 / 3)) if atoms.cell.rank == 3 else limit
    distances = np.asarray(_neighbour_list(atoms)("d", atoms, cutoff))
    return float(distances.min()) if distances.size else limit


def _neighbour_list(atoms: Atoms) -> NeighbourList:
    """matscipy's neighbour list (100 times as fast) where it is installed and the cell has a volume, else ASE's."""
    if atoms.cell.rank == 3:
        with suppress(ImportError):
            fast: NeighbourList = importlib.import_module("matscipy.neighbours").neighbour_list
            return fast
    from ase.neighborlist import neighbor_list

    return neighbor_list
