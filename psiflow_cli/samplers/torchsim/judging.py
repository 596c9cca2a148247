"""Limits of all walkers at once, on the device; the host looks at the outcome where it has to."""

from __future__ import annotations

import math
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
_WORST = ("energy", "force", "temperature", "spread", "lost cells")
_FORCE, _SPREAD = _WORST.index("force"), _WORST.index("spread")
_FINITE = sys.float_info.max
_JUST_BELOW = 1.0 - 1e-12
"""So that no rounding of a square hides what the host would see."""


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
        self._bounds[_FORCE] = (_JUST_BELOW * min(self._bounds[_FORCE], math.sqrt(_FINITE))) ** 2
        self._none = torch.zeros((), dtype=torch.float64, device=device)
        self._three = torch.ones(3, dtype=torch.float64, device=device)
        self._dof: torch.Tensor | None = None
        self._per_kinetic: torch.Tensor  # [B], K/eV, for these degrees of freedom

    def worst(self, state: BatchState, cells: CellLimits | None) -> list[torch.Tensor]:
        """`_WORST` of the whole batch: the largest values, of the force its square, and the sum of the energies.

        The sum tells only whether all are finite. So does the temperature of momenta, and with them of positions. This
        is needed in every step, so it takes few operations, and those that are fast.
        """
        import torch

        force = (state.forces * state.forces).mv(self._three).amax()  # three times as fast as the norm of each row
        temperature = self._temperature(state, self._kinetic(state)).amax()
        spread = self._none if state.forces_std is None else state.forces_std.amax()
        lost = self._none if cells is None else (~cells.within_limits(state.cells)).any().to(torch.float64)
        return [state.energy.sum(), force, temperature, spread, lost]

    def within_limits(self, worst: np.ndarray) -> bool:
        """Whether all walkers have kept the limits that hold at every step; `worst` is that of some steps."""
        import numpy as np

        worst = worst.reshape(-1, len(_WORST))
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
        return state.kinetic(state.kicked(self._kick))

    def _temperature(self, state: BatchState, kinetic: torch.Tensor) -> torch.Tensor:
        """In K; 0 for a walker without degrees of freedom."""
        import torch

        if state.dof is not self._dof:
            self._dof = state.dof
            self._per_kinetic = torch.where(state.dof > 0.0, 2.0 / (state.dof * KB), 0.0)
        return kinetic * self._per_kinetic
