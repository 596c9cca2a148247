"""Limits of all walkers at once, on the device; the host looks at the outcome where it has to."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from psiflow_cli.samplers.ase.integrators import half_kick
from psiflow_cli.worker.md import limits
from psiflow_cli.worker.md.velocities import KB

if TYPE_CHECKING:
    import torch

    from psiflow_cli.messages import MDJob, Violation
    from psiflow_cli.samplers.torchsim.state import BatchState

SIZES = ("energy", "force", "temperature", "positions", "spread", "kinetic")
"""What is judged or recorded of each walker, by rows."""
_SPREAD = SIZES.index("spread")
_FINITE = sys.float_info.max


class Judge:
    """What the limits of a job say of a state."""

    def __init__(self, job: MDJob, device: torch.device) -> None:
        import torch
        from ase import units

        self._limits, self._kick = job["limits"], half_kick(job) * units.fs
        bounds = [_FINITE if (limit := job["limits"].get(name)) is None else limit for name in SIZES]
        self._bounds = torch.tensor(bounds, dtype=torch.float64, device=device)[:, None]

    def sizes(self, state: BatchState) -> torch.Tensor:
        """`SIZES` of each walker, [6, B]."""
        import torch

        momenta = state.momenta
        if self._kick:
            momenta = torch.addcmul(momenta, state.forces, state.moves, value=self._kick)
        kinetic = state.kinetic(momenta)
        temperature = torch.where(state.dof > 0.0, 2.0 * kinetic / (state.dof * KB), 0.0)
        force = state.largest(torch.einsum("ij,ij->i", state.forces, state.forces)).sqrt()
        spread = torch.zeros_like(force) if state.forces_std is None else state.largest(state.forces_std)
        positions = state.total(state.positions).sum(dim=1)
        return torch.stack([state.energy, force, temperature, positions, spread, kinetic])

    def kept(self, state: BatchState, sizes: torch.Tensor) -> torch.Tensor:
        """Whether all walkers have kept the limits that hold at every step, []."""
        import torch

        scale = self._limits.get("error_scale")
        if scale and state.forces_std is not None:
            error = torch.hypot(scale["scale"] * sizes[_SPREAD], torch.full_like(sizes[_SPREAD], scale["floor"]))
            sizes = torch.cat([sizes[:_SPREAD], error[None], sizes[_SPREAD + 1 :]])
        return (sizes.abs() <= self._bounds).all()

    def violation(self, sizes: list[float], near: Violation | None, committee: bool) -> Violation | None:
        """What is wrong with a walker of these `SIZES`, where `near` is what is wrong with its distances."""
        energy, force, temperature, positions, spread, _ = sizes
        broken = limits.broken_by_sizes(self._limits, energy, force, temperature, positions)
        return broken or near or limits.disagreement(self._limits, spread, committee)
