"""ASE's constraints as the column `move_mask`, and the names of those that it cannot express."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms
    from ase.constraints import FixConstraint

OTHERS = "ase_constraints"
"""The key of a frame that names constraints which `move_mask` cannot express: who would move its atoms refuses it."""


def from_atoms(atoms: Atoms) -> tuple[list[bool] | list[list[bool]], list[str]]:
    """Whether each atom moves (along x, y and z, where these differ), [] if nothing is fixed, and the other names."""
    import numpy as np

    moves = np.ones((len(atoms), 3), dtype=bool)
    if (mask := atoms.arrays.get("move_mask")) is not None and mask.dtype.kind in "bui":
        moves &= mask.reshape(len(atoms), -1).astype(bool)
    others: dict[str, None] = {}
    for constraint in atoms.constraints:
        fixes = _fixes(constraint, atoms)
        if fixes is None:
            others[type(constraint).__name__] = None
        else:
            moves[constraint.index] &= ~fixes
    if moves.all():
        return [], list(others)
    return moves[:, 0].tolist() if (moves == moves[:, :1]).all() else moves.tolist(), list(others)


def _fixes(constraint: object, atoms: Atoms) -> np.ndarray | None:
    """The Cartesian directions in which a constraint holds its atoms, shape (3,); None if it does something else."""
    import numpy as np
    from ase.constraints import FixAtoms, FixCartesian, FixedLine, FixedPlane, FixScaled

    if isinstance(constraint, FixAtoms):
        return np.ones(3, dtype=bool)
    if isinstance(constraint, FixCartesian):
        return np.asarray(constraint.mask, dtype=bool)
    if isinstance(constraint, FixScaled):
        mask = np.asarray(constraint.mask, dtype=bool)
        along_axes = np.allclose(atoms.cell.array, np.diag(np.diag(atoms.cell.array)))
        return mask if mask.all() or not mask.any() or along_axes else None
    if isinstance(constraint, (FixedPlane, FixedLine)):
        along = np.isclose(np.abs(constraint.dir), 1.0)
        if not along.any():
            return None
        fixes: np.ndarray = along if isinstance(constraint, FixedPlane) else ~along
        return fixes
    return None


def holding(moves: np.ndarray) -> list[FixConstraint]:
    """Constraints that let each atom move along x, y and z as it says there, shape (N, 1) or (N, 3)."""
    import numpy as np
    from ase.constraints import FixAtoms, FixCartesian

    fixed = ~np.broadcast_to(moves.astype(bool), (len(moves), 3))
    held: list[FixConstraint] = []
    for mask in np.unique(fixed, axis=0):
        if mask.any():
            indices = np.flatnonzero((fixed == mask).all(axis=1))
            held.append(FixAtoms(indices) if mask.all() else FixCartesian(indices, mask))
    return held
