"""Limits of all walkers at once, on the device; the host looks at the outcome where it has to."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from psiflow_cli.samplers.ase.integrators import half_kick
from psiflow_cli.worker.md import limits
from psiflow_cli.worker.md.velocities import KB

if TYPE_CHECKING:
    import numpy as np
    import torch

    from psiflow_cli.messages import MDJob, Violation
    from psiflow_cli.samplers.torchsim.cell_limits import CellLimits
    from psiflow_cli.samplers.torchsim.state import BatchState

SIZES = ("energy", "force", "temperature", "positions", "spread", "kinetic")
"""What is judged or recorded of each walker, by rows."""
_WORST = ("energy", "positions", "force", "temperature", "spread", "lost cells")
_SPREAD = _WORST.index("spread")
_FINITE = sys.float_info.max


class Judge:
    """What the limits of a job say of a state."""

    def __init__(self, job: MDJob, device: torch.device) -> None:
        import numpy as np
        import torch
        from ase import units

        self._limits, self._kick = job["limits"], half_kick(job) * units.fs
        bounds = {name: job["limits"].get(name) for name in ("force", "temperature", "spread")}
        self._bounds = np.array(
            [_FINITE if (bound := bounds.get(name)) is None else bound for name in _WORST[:-1]] + [0]
        )
        self._none = torch.zeros((), dtype=torch.float64, device=device)
        self._dof: torch.Tensor | None = None
        self._per_kinetic: torch.Tensor  # [B], K/eV, for these degrees of freedom

    def worst(self, state: BatchState, cells: CellLimits | None) -> torch.Tensor:
        """`_WORST` of the whole batch, [6]: the largest values, but the sums of energies and positions.

        A sum tells only whether all are finite. This is needed in every step, so it takes few operations.
        """
        import torch

        force = torch.linalg.vector_norm(state.forces, dim=1).amax()
        temperature = self._temperature(state, self._kinetic(state)).amax()
        spread = self._none if state.forces_std is None else state.forces_std.amax()
        lost = self._none if cells is None else (~cells.kept(state.cells)).any().to(torch.float64)
        return torch.stack([state.energy.sum(), state.positions.sum(), force, temperature, spread, lost])

    def kept(self, worst: np.ndarray) -> bool:
        """Whether all walkers have kept the limits that hold at every step; `worst` has the shape (steps, 6)."""
        import numpy as np

        if (scale := self._limits.get("error_scale")) and worst[:, _SPREAD].any():
            worst[:, _SPREAD] = np.hypot(scale["scale"] * worst[:, _SPREAD], scale["floor"])
        return bool((np.abs(worst) <= self._bounds).all())

    def sizes(self, state: BatchState) -> torch.Tensor:
        """`SIZES` of each walker, [6, B]."""
        import torch

        kinetic = self._kinetic(state)
        force = state.largest(torch.linalg.vector_norm(state.forces, dim=1))
        spread = torch.zeros_like(force) if state.forces_std is None else state.largest(state.forces_std)
        positions = state.total(state.positions).sum(dim=1)
        return torch.stack([state.energy, force, self._temperature(state, kinetic), positions, spread, kinetic])

    def violation(self, sizes: list[float], near: Violation | None, committee: bool) -> Violation | None:
        """What is wrong with a walker of these `SIZES`, where `near` is what is wrong with its distances."""
        energy, force, temperature, positions, spread, _ = sizes
        broken = limits.broken_by_sizes(self._limits, energy, force, temperature, positions)
        return broken or near or limits.disagreement(self._limits, spread, committee)

    def _kinetic(self, state: BatchState) -> torch.Tensor:
        """The kinetic energy of each walker when the temperature is taken, [B]."""
        if not self._kick:
            return state.kinetic(state.momenta)
        return state.kinetic(state.momenta.addcmul(state.forces, state.moves, value=self._kick))

    def _temperature(self, state: BatchState, kinetic: torch.Tensor) -> torch.Tensor:
        """In K; 0 for a walker without degrees of freedom."""
        import torch

        if state.dof is not self._dof:
            self._dof = state.dof
            self._per_kinetic = torch.where(state.dof > 0.0, 2.0 / (state.dof * KB), 0.0)
        return kinetic * self._per_kinetic
