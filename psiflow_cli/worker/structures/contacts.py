"""The two atoms of a frame that are nearest to each other for their size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psiflow_cli.worker.structures import conversion
from psiflow_cli.worker.structures.near_pairs import across

if TYPE_CHECKING:
    from psiflow_cli.messages import Contact, Context, Frame

WITHIN = 0.7
"""Of the sum of two covalent radii: pairs that are further apart are not looked at. Bonds have 0.75 to 1.3."""


def nearest(frames: list[Frame], context: Context) -> list[Contact]:
    """*worker*: that pair of each frame, periodic images too.

    The radii are those of Cordero et al., Dalton Trans. 2008, 2832, as ASE has them.
    """
    return [_nearest(frame) for frame in frames]


def _nearest(frame: Frame) -> Contact:
    from ase.data import covalent_radii
    from ase.neighborlist import neighbor_list

    system = conversion.to_ase(frame)
    if not any(system.pbc):
        system.cell = None  # a large box around a molecule would be searched, too
    radii = covalent_radii[system.numbers]
    # as many boxes as atoms: ASE's own choice, by volume, takes a thousand times longer where there is vacuum
    first, second, distance = neighbor_list("ijd", system, list(WITHIN * radii), max_nbins=max(len(system), 8))
    if not len(distance):
        return {"ratio": WITHIN, "distance": None, "atoms": "", "across": ""}
    ratios = distance / (radii[first] + radii[second])
    k = int(ratios.argmin())
    i, j = sorted((int(first[k]), int(second[k])))
    names = [f"{frame['symbols'][n]} (atom {n + 1})" for n in (i, j)]
    atoms = " and ".join(names) if i != j else f"{names[0]} and its image"
    how = across(system, i, j, distance[k]) if i != j else ""
    return {"ratio": float(ratios[k]), "distance": float(distance[k]), "atoms": atoms, "across": how}
