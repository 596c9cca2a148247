"""All beads of a walker in one call of the model, through the interface of its family to torch-sim.

So on a GPU, and for molecules: MACE takes a quarter of the time for 4 and 16 beads of a water on a CPU, and
1.2 to 1.8 times as long there for a crystal of 24 atoms, whose beads are asked about one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psiflow_cli.samplers.ipi.force_field import BeadForces
from psiflow_cli.samplers.torchsim import forces, transfer, walkers
from psiflow_cli.worker.failures import Fatal

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms

    from psiflow_cli.messages import Context, Frame, MDJob
    from psiflow_cli.worker.models.graphs import GraphModel


def batched_beads(job: MDJob, context: Context, start: Frame) -> BatchedBeads | None:
    """How to ask about all beads at once; None where it does not pay, or the family or the frame does not let us."""
    if job["beads"] == 1 or len(set(start["pbc"])) > 1:
        return None
    if context.get("device") != "cuda" and any(start["pbc"]):
        return None
    try:
        return BatchedBeads(forces.models(job["model"], context, stress=start["pbc"][0]), start, job["beads"])
    except Fatal:
        return None


class BatchedBeads:
    """The members of a model; a call of them has all beads, or as many as fit into the memory."""

    def __init__(self, members: list[GraphModel], start: Frame, beads: int) -> None:
        self.beads, self.periodic = beads, bool(start["pbc"][0])
        self._forces = forces.Forces(members, beads, [start] * beads, cells_move=self.periodic)

    def __call__(self, atoms: Atoms, positions: list[np.ndarray], cell: np.ndarray | None) -> list[BeadForces]:
        """Of positions in Å, shape (N, 3) for each bead; `cell` if it is another than before."""
        state = walkers.at_rest(
            positions, [atoms.cell.array if cell is None else cell] * self.beads, self._forces.device
        )
        self._forces(state, stress=self.periodic)
        names = ("energy", "forces", "stress", "energy_std", "forces_std")
        arrays = transfer.read({name: getattr(state, name) for name in names})
        return [self._bead(arrays, bead, positions[bead], part) for bead, part in enumerate(state.parts())]

    def _bead(self, arrays: dict[str, np.ndarray], bead: int, positions: np.ndarray, atoms: slice) -> BeadForces:
        stress, spread = arrays.get("stress"), None
        if stress is not None:
            stress = stress[bead][[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        if "forces_std" in arrays:
            spread = float(arrays["energy_std"][bead]), arrays["forces_std"][atoms].tolist()
        return BeadForces(positions, float(arrays["energy"][bead]), arrays["forces"][atoms], stress, spread)
