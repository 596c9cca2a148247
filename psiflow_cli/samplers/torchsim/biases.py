"""PLUMED's biases of all walkers of a batch: one copy from the device and one to it per step; PLUMED is on the host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from psiflow_cli.samplers.torchsim.transfer import read
from psiflow_cli.worker.md.plumed.files import away
from psiflow_cli.worker.md.plumed.kernel import BiasForces

if TYPE_CHECKING:
    from psiflow_cli.messages import MDJob
    from psiflow_cli.samplers.torchsim.state import BatchState
    from psiflow_cli.samplers.torchsim.walkers import BatchedWalker
    from psiflow_cli.worker.md.plumed.bias import Bias


class Biases:
    """Those of the walkers that go on, in the order of the batch."""

    def __init__(self, job: MDJob, walkers: Sequence[BatchedWalker]) -> None:
        for walker in walkers:
            walker.restore_shared_hills()
        for walker in walkers:
            walker.start_bias(walker.atoms())
        self._steps = job["steps"]
        self.only(walkers)

    def only(self, walkers: Sequence[BatchedWalker]) -> None:
        """Go on with these walkers."""
        self._biases: list[Bias] = [walker.bias for walker in walkers if walker.bias]

    def add(self, state: BatchState, step: int) -> None:
        """Add the biases' forces and stresses to what the models predict; the energy stays the models' alone."""
        import numpy as np
        import torch

        if not self._biases:
            return
        names = ["positions", "cells"]
        if any(bias.needs_energy for bias in self._biases):
            names += ["energy", "forces", "stress"]
        arrays = read({name: getattr(state, name) for name in names})
        forces, stresses = np.zeros_like(arrays["positions"]), np.zeros_like(arrays["cells"])
        volumes = np.abs(np.linalg.det(arrays["cells"]))
        for place, (bias, atoms) in enumerate(zip(self._biases, state.parts(), strict=True)):
            model = None
            if "energy" in arrays:
                virial = arrays["stress"][place] * volumes[place] if "stress" in arrays else np.zeros((3, 3))
                model = BiasForces(float(arrays["energy"][place]), arrays["forces"][atoms], virial)
            bias_forces = bias.apply(step, arrays["positions"][atoms], arrays["cells"][place], model)
            forces[atoms] = bias_forces.forces
            if state.stress is not None:
                stresses[place] = bias_forces.virial / volumes[place]
        device = state.forces.device
        state.forces = state.forces + torch.from_numpy(forces).to(device)
        if state.stress is not None:
            state.stress = state.stress + torch.from_numpy(stresses).to(device)

    def update(self, checkpoint: bool) -> None:
        """The step is made, and the last one of a block with `checkpoint`."""
        if not self._biases:
            return
        with away():
            for bias in self._biases:
                bias.update(checkpoint)

    @property
    def can_go_on(self) -> bool:
        """Whether all walkers could go on from here; see `Bias.can_go_on`."""
        return all(bias.can_go_on for bias in self._biases)
