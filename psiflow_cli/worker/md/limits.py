"""When a walker has left what its model can describe: limits on force, temperature and interatomic distance."""

from __future__ import annotations

import importlib
import math
from contextlib import suppress
from typing import Any

Wire = dict[str, Any]


def fault(limits: Wire, energy: float, positions: Any, forces: Any, temperature: float) -> Wire | None:
    """What is wrong with this step, {"reason": text, "kind": "force" | "temperature" | "nan"}, or None.

    `positions` (Å) and `forces` (eV/Å) are arrays of shape (N, 3); cheap enough for every step.
    """
    import numpy as np

    largest = math.sqrt(float(np.einsum("ij,ij->i", forces, forces).max()))
    total = float(positions.sum())
    if not math.isfinite(energy + largest + temperature + total):
        sizes = {"energy": energy, "forces": largest, "temperature": temperature, "positions": total}
        for name, size in sizes.items():
            if not math.isfinite(size):
                return {"reason": f"{name} not finite", "kind": "nan"}
    if limits.get("force") is not None and largest > limits["force"]:
        return {"reason": f"force {largest:.4g} eV/Å > {limits['force']:g} eV/Å", "kind": "force"}
    if limits.get("temperature") is not None and temperature > limits["temperature"]:
        return {"reason": f"temperature {temperature:.4g} K > {limits['temperature']:g} K", "kind": "temperature"}
    return None


def apart(limits: Wire, forces_std: Any) -> Wire | None:
    """Whether a committee disagrees by more than `limits["spread"]` (eV/Å) about the force on an atom."""
    limit, largest = limits.get("spread"), max(forces_std, default=0.0)
    if limit is None or not largest > limit:
        return None
    return {"reason": f"committee's spread {largest:.4g} eV/Å > {limit:g} eV/Å", "kind": "spread"}


def overlap(limits: Wire, atoms: Any) -> Wire | None:
    """Whether two atoms (or an atom and an image of another) are nearer than `limits["distance"]` (Å)."""
    limit = limits.get("distance")
    if limit is None or len(atoms) < 2:
        return None
    nearest = _nearest(atoms, limit)
    if nearest < limit:
        return {"reason": f"distance {nearest:.4g} Å < {limit:g} Å", "kind": "distance"}
    return None


def _nearest(atoms: Any, limit: float) -> float:
    """The smallest distance between atoms (Å), exact where it is below `limit`, at least `limit` otherwise."""
    import numpy as np

    if not atoms.pbc.any():
        tree = importlib.import_module("scipy.spatial").cKDTree(atoms.positions)
        return float(tree.query(atoms.positions, k=2)[0][:, 1].min())
    # Neighbour lists sort atoms into bins as wide as the cut-off: no more bins than atoms, or an empty cell is slow.
    cutoff = max(limit, (atoms.get_volume() / len(atoms)) ** (1 / 3)) if atoms.cell.rank == 3 else limit
    distances = np.asarray(_neighbours(atoms)("d", atoms, cutoff))
    return float(distances.min()) if distances.size else limit


def _neighbours(atoms: Any) -> Any:
    """matscipy's neighbour list (100 times as fast) where it is installed and the cell has a volume, else ASE's."""
    if atoms.cell.rank == 3:
        with suppress(ImportError):
            return importlib.import_module("matscipy.neighbours").neighbour_list
    from ase.neighborlist import neighbor_list

    return neighbor_list
