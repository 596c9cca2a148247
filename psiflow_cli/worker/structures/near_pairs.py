"""Pairs of atoms that are much nearer to each other than neighbours are, periodic images included."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms


def across(atoms: Atoms, i: int, j: int, distance: float) -> str:
    """What to add to a distance (Å) that is one to an image: a wrong cell may be the reason. Else ""."""
    import numpy as np

    is_image = np.linalg.norm(atoms.positions[i] - atoms.positions[j]) > distance + 1e-3
    return " across the cell boundary" if is_image else ""


def near_pairs(atoms: Atoms, cutoff: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First atoms, second atoms and distances (Å) of pairs nearer than `cutoff` (Å), of shape (P,).

    ASE's neighbour list sorts atoms into bins of 3 Å, which takes a second for a molecule in a box with vacuum; this
    takes 0.1 ms. Two atoms have one pair: of the images of the second, the nearest.
    """
    import numpy as np
    from ase.geometry import complete_cell

    pbc = np.asarray(atoms.pbc)
    cell = complete_cell(atoms.cell.array) if pbc.any() else np.eye(3)
    stretch = np.linalg.svd(cell, compute_uv=False)[-1]  # Å by which a step of 1 in scaled positions is at least long
    reach = cutoff / stretch
    if reach >= 0.5:  # more than one image of an atom may be near
        return _by_ase(atoms, cutoff)
    scaled = np.linalg.solve(cell.T, atoms.positions.T).T
    scaled[:, pbc] -= np.floor(scaled[:, pbc])
    scaled[:, pbc] %= 1.0  # -1e-17 was rounded to 1
    tree = importlib.import_module("scipy.spatial").cKDTree(scaled, boxsize=pbc.astype(float))
    first, second = tree.query_pairs(reach, output_type="ndarray").T
    apart = scaled[second] - scaled[first]
    apart[:, pbc] -= np.round(apart[:, pbc])
    distance = np.sqrt(((apart @ cell) ** 2).sum(axis=1))
    near = distance < cutoff
    return first[near], second[near], distance[near]


def _by_ase(atoms: Atoms, cutoff: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from ase.neighborlist import neighbor_list

    first, second, distance = neighbor_list("ijd", atoms, cutoff, max_nbins=max(len(atoms), 8))
    return first, second, distance
