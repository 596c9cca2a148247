"""Cells that move, of all walkers at once, and Langevin dynamics with them; the physics is that of the ASE engine.

See `samplers.ase.barostats`. A cell that keeps its shape has a momentum that is a multiple of the identity matrix, so
that the equations of a flexible one hold for it as well.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from psiflow_cli.samplers.torchsim.integrators import strain
from psiflow_cli.samplers.torchsim.integrators.verlet import Langevin, VelocityVerlet
from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.md.velocities import KB

if TYPE_CHECKING:
    import numpy as np
    import torch

    from psiflow_cli.messages import MDJob
    from psiflow_cli.samplers.torchsim.integrators.integrator import Draws, StepNoise
    from psiflow_cli.samplers.torchsim.state import BatchState, Evaluate

MOMENTUM = "cell_momentum"  # symmetric, [3, 3], in eV·(ASE's time)
VOLUME = "volume"  # of the first cell (Å³), where the cell keeps it


class MovingCell(VelocityVerlet):
    """What acts on the cells of the walkers, and what they do to atoms."""

    stress = True

    def __init__(self, job: MDJob) -> None:
        from ase import units

        super().__init__(job)
        self.isotropic = job["ensemble"] == "npt" and job["cell"] == "isotropic"
        self.keeps_volume = job["ensemble"] == "nvst"
        self.degrees_of_freedom = 1 if self.isotropic else 5 if self.keeps_volume else 6
        self.time = job["barostat_time"] * units.fs

    def begin(self, state: BatchState) -> dict[str, torch.Tensor]:
        import torch

        own = {MOMENTUM: torch.zeros_like(state.cells)}
        return {**own, VOLUME: strain.volume(state.cells)} if self.keeps_volume else own

    def mass(self, state: BatchState) -> torch.Tensor:
        """In eV·(ASE's time)², shape (B,); see `samplers.ase.barostats.cell_mass`."""
        whole = KB * self.time**2
        return (state.dof + 3.0) * state.kelvin * (whole if self.isotropic else whole / 3.0)

    def scale(self, state: BatchState, factor: torch.Tensor) -> None:
        """The cells' masses grow with the temperature, so p² / (2 W kT) stays what it is."""
        super().scale(state, factor)
        state.own[MOMENTUM] = state.own[MOMENTUM] * (factor * factor)[:, None, None]

    def push(self, state: BatchState) -> None:
        """Let the internal and the external pressure, and the counterpart of the drag, act for half a step."""
        if state.stress is None:
            raise Fatal(
                "this model predicts no stress, which the ensemble needs to change the cell", "choose --ensemble nvt"
            )
        kinetic = state.by_walker(state.momenta).mT @ state.by_walker(state.momenta * state.inverse_masses)
        volume = strain.volume(state.cells)
        force = kinetic - volume[:, None, None] * state.stress
        even = strain.trace(kinetic) / state.dof - volume * state.pressure
        if self.isotropic:
            force = strain.scaled_identity(strain.trace(force) + 3.0 * even)
        elif self.keeps_volume:
            force = strain.without_trace(force)
        else:
            force = force + strain.scaled_identity(even)
        state.own[MOMENTUM] = state.own[MOMENTUM] + 0.5 * self.timestep * force

    def deform(self, state: BatchState, deformation: torch.Tensor) -> None:
        """Multiply the cell vectors by a matrix for each walker."""
        state.cells = state.cells @ deformation
        if self.keeps_volume:
            state.cells = strain.with_volume(state.cells, state.own[VOLUME])


class LangevinCell(MovingCell, Langevin):
    """A palindrome of exact parts: forces, cell and momenta, positions, noise, and the same backwards."""

    def __init__(self, job: MDJob) -> None:
        super().__init__(job)
        self.cell_decay = math.exp(-job["timestep"] / job["barostat_time"])

    def draw(self, rng: np.random.Generator, steps: int, atoms: int, dof: int) -> Draws:
        numbers = rng.standard_normal((steps, 3 * atoms + (1 if self.isotropic else 9)))
        return numbers[:, : 3 * atoms].reshape(steps, atoms, 3), numbers[:, 3 * atoms :]

    def step(self, state: BatchState, evaluate: Evaluate, noise: StepNoise) -> None:
        mass = self.mass(state)
        self.kick(state)
        self.push(state)
        grow, shrink = self._strains(state, mass)
        state.positions = deformed(state, state.positions, grow)
        self.deform(state, grow)
        self.drift(state, 0.5 * self.timestep)
        state.momenta = deformed(state, state.momenta, shrink)
        self.heat(state, noise)
        self._heat_cells(state, noise, mass)
        grow, shrink = self._strains(state, mass)
        state.momenta = deformed(state, state.momenta, shrink)
        self.drift(state, 0.5 * self.timestep)
        state.positions = deformed(state, state.positions, grow)
        self.deform(state, grow)
        evaluate(state)
        self.push(state)
        self.kick(state)

    def _heat_cells(self, state: BatchState, noise: StepNoise, mass: torch.Tensor) -> None:
        """The Ornstein-Uhlenbeck part of the cells."""
        spread = (mass * state.kelvin * (KB * (1.0 - self.cell_decay**2))).sqrt()[:, None, None]
        state.own[MOMENTUM] = state.own[MOMENTUM] * self.cell_decay + spread * self._symmetric(noise.walkers)

    def _symmetric(self, numbers: torch.Tensor) -> torch.Tensor:
        """The noise of the cells' momenta, of 1 or 9 normal numbers each."""
        if self.isotropic:
            return strain.scaled_identity(numbers[:, 0])
        matrix = numbers.reshape(-1, 3, 3)
        matrix = 0.5 * (matrix + matrix.mT)
        return strain.without_trace(matrix) if self.keeps_volume else matrix

    def _strains(self, state: BatchState, mass: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What half a step does to cells and positions, and by its drag to the momenta."""
        import torch

        rate = state.own[MOMENTUM] * (0.5 * self.timestep / mass)[:, None, None]
        grow, shrink = strain.exponential_and_average(torch.cat([rate, -rate]))[0].chunk(2)
        return grow, shrink * (-strain.trace(rate) / state.dof).exp()[:, None, None]


def deformed(state: BatchState, vectors: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """The vectors of the atoms, [N, 3], times the matrix of their walker."""
    return state.by_atom(state.by_walker(vectors) @ matrix)
