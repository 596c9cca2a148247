"""Cells that move with their atoms, of many frames at once: the coordinates of ASE's `FrechetCellFilter`.

A frame's coordinates are its atoms' places in the cell that it came with, and three more rows: the logarithm of its
deformation times the number of its atoms.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from psiflow_cli import voigt

if TYPE_CHECKING:
    import numpy as np

    from psiflow_cli.worker.structures.optimisation.optimisers import Rows


def deformations(logarithms: np.ndarray) -> np.ndarray:
    """What the logarithms, shape (F, 3, 3), are of."""
    result: np.ndarray = importlib.import_module("scipy.linalg").expm(logarithms)
    return result


def deformed(places: np.ndarray, deformation: np.ndarray, atoms: Rows) -> np.ndarray:
    """Places in the first cell, shape (N, 3), as they are in the deformed one."""
    import numpy as np

    of_atom = deformation[atoms.frame]
    result: np.ndarray = np.zeros_like(places)
    for axis in range(3):  # no matrix product, whose last digits might depend on how many atoms there are
        result += places[:, axis, None] * of_atom[:, :, axis]
    return result


def on_places(forces: np.ndarray, deformation: np.ndarray, atoms: Rows) -> np.ndarray:
    """Forces on atoms (eV/Å, shape (N, 3)) as forces on their places in the first cell."""
    return deformed(forces, deformation.transpose(0, 2, 1), atoms)


def on_logarithms(
    logarithms: np.ndarray, stresses: np.ndarray, cells: np.ndarray, pressure: float, moves: str
) -> np.ndarray:
    """What drives the logarithms of the deformations (eV, shape (F, 3, 3)).

    `stresses` (eV/Å³, Voigt's order) have the shape (F, 6), `cells` (Å) the shape (F, 3, 3); the `pressure` is in
    eV/Å³; `moves` is a name of `moves.MOVES_CELL`.
    """
    import numpy as np

    identity = np.eye(3)
    volumes = np.abs(np.linalg.det(cells))[:, None, None]
    virials = -volumes * (np.array([voigt.to_matrix(each) for each in stresses]) + pressure * identity)
    if moves == "isotropic":
        virials = np.trace(virials, axis1=1, axis2=2)[:, None, None] / 3.0 * identity
    transposed = logarithms.transpose(0, 2, 1)
    driving = virials @ np.linalg.inv(deformations(transposed))
    # The derivative of the exponential along a matrix is a block of the exponential of both: R. Mathias, SIAM J.
    # Matrix Anal. Appl. 17, 610 (1996); its adjoint is that of the transposed matrix.
    blocks = np.zeros((len(logarithms), 6, 6))
    blocks[:, :3, :3] = blocks[:, 3:, 3:] = transposed
    blocks[:, :3, 3:] = driving
    forces = deformations(blocks)[:, :3, 3:]
    if moves == "shape":
        forces = forces - np.trace(forces, axis1=1, axis2=2)[:, None, None] / 3.0 * identity
    result: np.ndarray = forces
    return result
