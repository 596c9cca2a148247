"""Radial distribution functions and running coordination numbers of periodic systems."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from psiflow_cli.worker.analysis.paths import Block


def radial(
    block: Block, pairs: tuple[tuple[str, str], ...], edges: np.ndarray
) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]:
    """g(r) and the number of neighbours within the end of each shell, for each pair (centre, neighbour) of elements.

    g(r) is the density of neighbours at r over N_neighbour/V, in each frame with its own volume; its mean over frames.
    """
    import numpy as np

    symbols = np.array(block.path["symbols"])
    shells = 4.0 / 3.0 * np.pi * np.diff(edges**3)
    sums = {pair: (np.zeros(len(shells)), np.zeros(len(shells))) for pair in pairs}
    cells = block.cells()
    for frame, cell in enumerate(cells):
        first, second, distances = _neighbours(block, frame, cell, float(edges[-1]))
        volume = abs(np.linalg.det(cell))
        for (centre, other), (density, counts) in sums.items():
            of_centre, of_other = symbols == centre, symbols == other
            chosen = distances[of_centre[first] & of_other[second]]
            counts_in_bins = np.histogram(chosen, edges)[0] / of_centre.sum()
            density += counts_in_bins * volume / (of_other.sum() * shells)
            counts += counts_in_bins.cumsum()
    return {pair: (density / len(cells), counts / len(cells)) for pair, (density, counts) in sums.items()}


def _neighbours(block: Block, frame: int, cell: np.ndarray, cutoff: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each pair of atoms within the cutoff, both ways round."""
    from ase import Atoms

    atoms = Atoms(block.path["symbols"], block.positions(frame), cell=cell, pbc=True)
    try:
        matscipy = importlib.import_module("matscipy.neighbours")  # many times as fast
        first, second, distances = matscipy.neighbour_list("ijd", atoms, cutoff)
    except ImportError:
        from ase.neighborlist import neighbor_list

        first, second, distances = neighbor_list("ijd", atoms, cutoff)
    return first, second, distances
