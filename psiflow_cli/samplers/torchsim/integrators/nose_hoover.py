"""Nosé-Hoover chains of all walkers at once, and the moving cell of Martyna, Tobias and Klein.

The physics is that of the ASE engine, see `samplers.ase.nose_hoover`. The chains of the atoms and those of the cells
have no part in each other, so they move together, as rows of the same tensors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psiflow_cli.samplers.torchsim.integrators import strain
from psiflow_cli.samplers.torchsim.integrators.barostats import MOMENTUM, MovingCell, deformed
from psiflow_cli.samplers.torchsim.integrators.verlet import VelocityVerlet
from psiflow_cli.worker.md.velocities import KB

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch

    from psiflow_cli.messages import MDJob
    from psiflow_cli.samplers.torchsim.integrators.integrator import StepNoise
    from psiflow_cli.samplers.torchsim.state import BatchState, Evaluate

CHAIN, CELL_CHAIN = "chain", "cell_chain"  # momenta of the thermostats, [length], in eV·(ASE's time)
_ROOT = 2.0 ** (1.0 / 3.0)
_WEIGHTS = (1.0 / (2.0 - _ROOT), -_ROOT / (2.0 - _ROOT), 1.0 / (2.0 - _ROOT))
"""Of the fourth-order scheme of Suzuki and Yoshida: H. Yoshida, Phys. Lett. A 150, 262 (1990)."""


class FixedCell(VelocityVerlet):
    """Cells that stand still."""

    def __init__(self, job: MDJob) -> None:
        from ase import units

        super().__init__(job)
        self.time, self.length = job["thermostat_time"] * units.fs, job["chain_length"]

    def begin(self, state: BatchState) -> dict[str, torch.Tensor]:
        return {CHAIN: state.dof.new_zeros((len(state.dof), self.length))}

    def scale(self, state: BatchState, factor: torch.Tensor) -> None:
        """The chain's masses grow with the temperature, so p² / (2 Q kT) stays what it is."""
        super().scale(state, factor)
        state.own[CHAIN] = state.own[CHAIN] * (factor * factor)[:, None]

    def step(self, state: BatchState, evaluate: Evaluate, noise: StepNoise) -> None:
        self._thermostat(state)
        super().step(state, evaluate, noise)
        self._thermostat(state)

    def _thermostat(self, state: BatchState) -> None:
        kt, chains = KB * state.kelvin, Chains([self.time], state.kelvin)
        own, factors = state.own[CHAIN], (2.0 * state.kinetic(state.momenta))[None]
        own, factors = chains.moved(own[None], factors, state.dof[None], kt, 0.5 * self.timestep)
        state.own[CHAIN] = own[0]
        super().scale(state, factors[0])


class ChainedCell(MovingCell):
    """Cells that move, with one chain for them and one for the atoms."""

    def __init__(self, job: MDJob) -> None:
        from ase import units

        super().__init__(job)
        self.thermostat_time, self.length = job["thermostat_time"] * units.fs, job["chain_length"]

    def begin(self, state: BatchState) -> dict[str, torch.Tensor]:
        resting = state.dof.new_zeros((len(state.dof), self.length))
        return {**super().begin(state), CHAIN: resting, CELL_CHAIN: resting}

    def scale(self, state: BatchState, factor: torch.Tensor) -> None:
        super().scale(state, factor)
        for name in (CHAIN, CELL_CHAIN):
            state.own[name] = state.own[name] * (factor * factor)[:, None]

    def step(self, state: BatchState, evaluate: Evaluate, noise: StepNoise) -> None:
        mass = self.mass(state)
        self._thermostat(state, mass)
        self.push(state)
        (drag, dragged), (grow, grown) = self._strains(state, mass)
        self._drag(state, drag, dragged)
        moved = self.timestep * deformed(state, state.momenta * state.inverse_masses, grown)
        state.positions = deformed(state, state.positions, grow) + moved
        self.deform(state, grow)
        evaluate(state)
        self._drag(state, drag, dragged)
        self.push(state)
        self._thermostat(state, mass)

    def _strains(self, state: BatchState, mass: torch.Tensor) -> tuple[tuple[torch.Tensor, ...], ...]:
        """What half a step does to the momenta and a whole one to the positions: matrices, and their time averages."""
        import torch

        rate = state.own[MOMENTUM] * (self.timestep / mass)[:, None, None]
        drag = -0.5 * (rate + strain.scaled_identity(strain.trace(rate) / state.dof))
        now, average = strain.exponential_and_average(torch.cat([drag, rate]))
        return tuple(zip(now.chunk(2), average.chunk(2), strict=True))

    def _drag(self, state: BatchState, drag: torch.Tensor, dragged: torch.Tensor) -> None:
        """Half a step of the forces on momenta that the moving cell drags."""
        kicks = 0.5 * self.timestep * deformed(state, state.forces, dragged)
        state.momenta = deformed(state, state.momenta, drag) + kicks

    def _thermostat(self, state: BatchState, mass: torch.Tensor) -> None:
        import torch

        own, kt, chains = state.own, KB * state.kelvin, Chains([self.thermostat_time, self.time], mass)
        squares = (own[MOMENTUM] ** 2).sum(dim=(1, 2)) / (3.0 * mass if self.isotropic else mass)
        energies = torch.stack([2.0 * state.kinetic(state.momenta), squares])
        dof = torch.stack([state.dof, torch.full_like(mass, self.degrees_of_freedom)])
        both = torch.stack([own[CHAIN], own[CELL_CHAIN]])
        both, (factor, cell_factor) = chains.moved(both, energies, dof, kt, 0.5 * self.timestep)
        own[CHAIN], own[CELL_CHAIN] = both
        VelocityVerlet.scale(self, state, factor)  # of the atoms alone
        own[MOMENTUM] = own[MOMENTUM] * cell_factor[:, None, None]


class Chains:
    """R chains of thermostats for each of B walkers, with a time each."""

    def __init__(self, times: list[float], like: torch.Tensor) -> None:
        self.squares = like.new_tensor(times)[:, None] ** 2
        self.pull = 1.0 / self.squares  # of the bath on each thermostat, in 1/time²

    def moved(
        self, momenta: torch.Tensor, twice_kinetic: torch.Tensor, dof: torch.Tensor, kt: torch.Tensor, duration: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The chains after a duration, and the factors for the momenta that they thermostat.

        `momenta` have the shape (R, B, length), the twofold kinetic energy (eV) and its degrees of freedom (R, B).
        They move by their rates, momentum over mass: the masses are `dof` kT time² of the first one, else kT time².
        """
        import torch

        light = kt * self.squares
        masses = torch.stack([light * dof] + [light] * (momenta.shape[2] - 1), dim=2)
        rates, ratio = list((momenta / masses).unbind(dim=2)), twice_kinetic / (dof * kt)
        factor = torch.ones_like(ratio)
        for weight in _WEIGHTS:
            delta = weight * duration
            self._drive(rates, ratio, dof, 0.5 * delta, reversed(range(len(rates))))
            scale = (-delta * rates[0]).exp()
            factor, ratio = factor * scale, ratio * (scale * scale)
            self._drive(rates, ratio, dof, 0.5 * delta, range(len(rates)))
        return torch.stack(rates, dim=2) * masses, factor

    def _drive(
        self, rates: list[torch.Tensor], ratio: torch.Tensor, dof: torch.Tensor, duration: float, order: Iterable[int]
    ) -> None:
        """Let what a thermostat keeps at its temperature drive it, and the next thermostat drag it, for a duration."""
        import torch

        for j in order:
            if j == 0:
                drive = torch.addcmul(-self.pull, self.pull, ratio)
            else:
                drive = torch.addcmul(-self.pull, rates[j - 1] * dof if j == 1 else rates[j - 1], rates[j - 1])
            if j + 1 < len(rates):
                drag = (-0.5 * duration * rates[j + 1]).exp()
                rates[j] = torch.add(rates[j] * drag, drive, alpha=duration) * drag
            else:
                rates[j] = torch.add(rates[j], drive, alpha=duration)
