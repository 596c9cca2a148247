"""Pairs of atoms within a cutoff, each in both directions."""

from __future__ import annotations

import importlib
from contextlib import suppress
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np


def neighbours(
    positions: np.ndarray, cell: np.ndarray, pbc: Sequence[bool], cutoff: float
) -> tuple[np.ndarray, np.ndarray]:
    """The pairs, shape (2, E), by their first atom, and the lattice between their atoms, shape (E, 3).

    `positions[second] - positions[first] + shifts @ cell` is the vector from one to the other. `cell` has three
    vectors that are independent. vesin, which comes with torch-sim, lets other threads run meanwhile.
    """
    import numpy as np

    with suppress(ImportError):
        make = importlib.import_module("vesin").NeighborList
        search = make(cutoff=cutoff, full_list=True, sorted=True, n_threads=1)
        periodic = np.asarray(pbc, dtype=bool)
        pairs, shifts = search.compute(points=positions, box=cell, periodic=periodic, quantities="PS")
        return np.ascontiguousarray(pairs.T, dtype=np.int64), shifts
    neighbour_list = importlib.import_module("matscipy.neighbours").neighbour_list
    first, second, shifts = neighbour_list("ijS", cell=cell, pbc=pbc, positions=positions, cutoff=cutoff)
    apart = (first != second) | shifts.any(axis=1)
    return np.stack([first, second])[:, apart].astype(np.int64), shifts[apart]


def whole_cell(positions: np.ndarray, cell: np.ndarray | None, pbc: Sequence[bool], cutoff: float) -> np.ndarray:
    """The cell with vectors of its own where it is not periodic: orthogonal, and as long as the atoms need."""
    import numpy as np
    from ase.geometry import complete_cell

    lattice = np.zeros((3, 3)) if cell is None else np.array(cell, dtype=float)
    lattice[~np.asarray(pbc, dtype=bool)] = 0.0
    lattice = complete_cell(lattice)
    reach = float(np.ptp(positions, axis=0).max()) + 2 * cutoff
    for axis in range(3):
        if not pbc[axis]:
            lattice[axis] *= reach
    return cast("np.ndarray", lattice)
