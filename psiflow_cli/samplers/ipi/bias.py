"""PLUMED on the centroids, as a force field of i-PI's."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipi.engine.atoms import Atoms as IpiAtoms
    from ipi.engine.cell import Cell

    from psiflow_cli.samplers.ipi.force_field import Request
    from psiflow_cli.worker.md.plumed.bias import Bias


class CentroidBias:
    """A force field of i-PI's for the centroids, which asks PLUMED."""

    name = "plumed"
    latency = 0.0

    def __init__(self, bias: Bias) -> None:
        self.bias, self.step = bias, 0

    def queue(self, atoms: IpiAtoms, cell: Cell, reqid: int) -> Request:
        """i-PI's question for the centroids, with its answer: [energy, forces, virial, nothing else]."""
        import numpy as np

        bias_forces = self.bias.apply(self.step, np.array(atoms.q).reshape(-1, 3), np.array(cell.h).T)
        result: list[object] = [bias_forces.energy, bias_forces.forces.ravel(), -bias_forces.virial, {}]
        return {"status": "Done", "result": result, "t_queued": 0.0, "t_dispatched": 0.0, "t_finished": 0.0}

    def release(self, request: Request) -> None:
        """Nothing waits for the end of a question."""
