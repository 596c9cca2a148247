"""Velocity Verlet, and what thermostats add to it in a cell that stands still."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from psiflow_cli.worker.md import velocities

if TYPE_CHECKING:
    import numpy as np
    import torch

    from psiflow_cli.messages import MDJob
    from psiflow_cli.samplers.torchsim.integrators.integrator import Draws, StepNoise
    from psiflow_cli.samplers.torchsim.state import BatchState, Evaluate


class VelocityVerlet:
    """NVE."""

    stress = False

    def __init__(self, job: MDJob) -> None:
        from ase import units

        self.timestep = job["timestep"] * units.fs

    def begin(self, state: BatchState) -> dict[str, torch.Tensor]:
        return {}

    def draw(self, rng: np.random.Generator, steps: int, atoms: int, dof: int) -> Draws:
        import numpy as np

        return np.empty((steps, 0, 3)), np.empty((steps, 0))

    def scale(self, state: BatchState, factor: torch.Tensor) -> None:
        state.momenta = state.momenta * state.per_atom(factor)[:, None]

    def step(self, state: BatchState, evaluate: Evaluate, noise: StepNoise) -> None:
        self.kick(state)
        self.drift(state, self.timestep)
        evaluate(state)
        self.kick(state)

    def kick(self, state: BatchState) -> None:
        """Half a step of the momenta."""
        state.momenta = state.kicked(0.5 * self.timestep)

    def drift(self, state: BatchState, time: float) -> None:
        """Move the positions for a time (ASE's unit) at constant momenta."""
        state.positions = state.positions.addcmul(state.momenta, state.inverse_masses, value=time)


class Langevin(VelocityVerlet):
    """NVT by Langevin dynamics in the BAOAB splitting."""

    def __init__(self, job: MDJob) -> None:
        super().__init__(job)
        self.decay = math.exp(-job["friction"] * 1e-3 * job["timestep"])
        self.spread = math.sqrt(velocities.KB * (1.0 - self.decay * self.decay))
        self._sigma: torch.Tensor  # [N, 3], of the noise, and what it was made of
        self._sigma_of: tuple[torch.Tensor | None, ...] = ()

    def draw(self, rng: np.random.Generator, steps: int, atoms: int, dof: int) -> Draws:
        import numpy as np

        return rng.standard_normal((steps, atoms, 3)), np.empty((steps, 0))

    def step(self, state: BatchState, evaluate: Evaluate, noise: StepNoise) -> None:
        self.kick(state)
        self.drift(state, 0.5 * self.timestep)
        self.heat(state, noise)
        self.drift(state, 0.5 * self.timestep)
        evaluate(state)
        self.kick(state)

    def heat(self, state: BatchState, noise: StepNoise) -> None:
        """The Ornstein-Uhlenbeck part."""
        decisive = (state.kelvin, state.masses, state.moves)
        if not self._sigma_of or any(new is not old for new, old in zip(decisive, self._sigma_of, strict=True)):
            sigma = self.spread * state.per_atom(state.kelvin.sqrt())[:, None]
            sigma = sigma * state.masses.sqrt()
            self._sigma, self._sigma_of = sigma if state.moves is None else sigma * state.moves, decisive
        state.momenta = (self.decay * state.momenta).addcmul_(noise.atoms, self._sigma)


class VelocityRescaling(VelocityVerlet):
    """NVT by canonical rescaling (Bussi, Donadio and Parrinello, J. Chem. Phys. 126, 014101 (2007), eq. A7)."""

    def __init__(self, job: MDJob) -> None:
        super().__init__(job)
        self.decay = math.exp(-job["timestep"] / job["thermostat_time"])

    def draw(self, rng: np.random.Generator, steps: int, atoms: int, dof: int) -> Draws:
        import numpy as np

        shape, numbers = 0.5 * (dof - 1), np.empty((steps, 2))
        for row in numbers:
            row[0] = rng.standard_normal()
            row[1] = 2.0 * rng.standard_gamma(shape)
        return np.empty((steps, 0, 3)), numbers

    def step(self, state: BatchState, evaluate: Evaluate, noise: StepNoise) -> None:
        one, others = noise.walkers[:, 0], noise.walkers[:, 1]
        target = 0.5 * state.dof * velocities.KB * state.kelvin
        ratio = (1.0 - self.decay) * target / state.kinetic(state.momenta) / state.dof
        factor = self.decay + ratio * (others + one * one) + 2.0 * one * (self.decay * ratio).sqrt()
        self.scale(state, factor.sqrt())
        super().step(state, evaluate, noise)
