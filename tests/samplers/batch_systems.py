"""The systems of `ase_systems` for many walkers at once, moved by the integrators of the batched engine."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import units

from psiflow_cli.samplers.ase.integrators import half_kick
from tests.samplers.ase_systems import JOB, KELVIN, REST, SPRING


def predict(calculator: Any, positions: Any, cells: Any) -> dict[str, Any]:
    """What `Bonds` or `Gas` predict of copies of the same atoms: positions [N, 3], cells [B, 3, 3]."""
    import torch

    if not hasattr(calculator, "ends"):  # a family is loaded from its file, so its classes are others than here
        zeros = torch.zeros_like(cells)
        return {"energy": zeros[:, 0, 0], "forces": torch.zeros_like(positions), "stress": zeros}
    places = positions.reshape(len(cells), -1, 3)
    image, ends = torch.from_numpy(calculator.image), torch.from_numpy(calculator.ends)
    along = places[:, calculator.second] - places[:, calculator.first] + image @ cells
    length = along.norm(dim=2, keepdim=True)
    pull = SPRING * (length - REST) / length * along
    return {
        "energy": 0.5 * SPRING * ((length - REST) ** 2).sum(dim=(1, 2)),
        "forces": (ends @ pull).reshape(-1, 3),
        "stress": along.mT @ pull / torch.linalg.det(cells).abs()[:, None, None],
    }


def interface(calculator: Any) -> Any:
    """The same behind torch-sim's interface."""
    import torch
    from torch_sim.models.interface import ModelInterface

    class Interface(ModelInterface):
        def __init__(self) -> None:
            super().__init__()
            self._device, self._dtype = torch.device("cpu"), torch.float64
            self._compute_forces = self._compute_stress = True

        def forward(self, state: Any) -> dict[str, Any]:
            return predict(calculator, state.positions, state.cell.mT)

    return Interface()


class Together:
    """Walkers that begin at the same atoms, with noise and momenta of their own."""

    def __init__(self, atoms: Any, walkers: int = 1, seed: int = 0, **changes: Any) -> None:
        import torch

        from psiflow_cli.samplers.torchsim.integrators import ensemble
        from psiflow_cli.samplers.torchsim.noise import Noise
        from psiflow_cli.samplers.torchsim.walkers import BatchedWalker, gathered

        self.job: Any = {**JOB, "seed": seed, "ramp_steps": None, "exchange": None, **changes}
        start: Any = {
            **{"symbols": atoms.get_chemical_symbols(), "positions": atoms.positions.tolist()},
            **{"cell": atoms.cell.tolist(), "pbc": [True] * 3},
            **{"fixed": [int(i) for constraint in atoms.constraints for i in constraint.index]},
        }
        messages: Any = [{"walker": i, "start": start, "temperature": [KELVIN] * 2} for i in range(walkers)]
        device = torch.device("cpu")
        members = [BatchedWalker(self.job, message, None) for message in messages]
        self.integrator = ensemble.integrator_for(self.job)
        self.noise, self.state = Noise(self.integrator, members, device), gathered(members, device)
        self.state.kelvin = torch.full_like(self.state.dof, KELVIN)
        self.state.own = self.integrator.begin(self.state)
        self.sites, self.calculator, self.steps = self.state.positions, atoms.calc, 0
        self.evaluate(self.state)
        self.rows: list[tuple[Any, ...]] = []

    def evaluate(self, state: Any) -> None:
        found = predict(self.calculator, state.positions, state.cells)
        state.energy, state.forces, state.stress = found["energy"], found["forces"], found["stress"]

    def take_over(self, other: Any) -> None:
        """Go on from another state, without its total momentum where this one has none."""
        state = self.state
        state.positions, state.momenta, state.cells = other.positions, other.momenta, other.cells
        if self.dof == 3 * state.counts[0] - 3:
            velocity = state.total(state.momenta) / state.total(state.masses)
            state.momenta = state.momenta - state.per_atom(velocity) * state.masses
        state.own.update({name: other.own[name] for name in ("cell_momentum",) if name in state.own})
        self.evaluate(state)

    def move(self, steps: int) -> None:
        for step in range(self.steps + 1, self.steps + steps + 1):
            self.noise.prepare(step, self.steps + steps, 1)
            self.integrator.step(self.state, self.evaluate, self.noise.at(step))
        self.steps += steps

    def look(self) -> None:
        """Take the present state down, the momenta where they are canonical; see `ase_systems.Seen`."""
        import torch

        state = self.state
        momenta = state.momenta + half_kick(self.job) * units.fs * state.forces
        kinetic = state.total(momenta[:, :, None] * (momenta / state.masses)[:, None, :])
        pull = -state.total(((state.positions - self.sites) * state.forces).sum(dim=1))
        volume = torch.linalg.det(state.cells).abs()
        pressure = kinetic / volume[:, None, None] - state.stress
        cell = state.own.get("cell_momentum", torch.zeros_like(state.cells))
        energy = kinetic.diagonal(dim1=1, dim2=2).sum(dim=1) / 2
        row = (volume, energy, pull, pressure, cell, state.total(momenta), state.energy)
        self.rows.append(tuple(values.numpy().copy() for values in row))

    def __getattr__(self, name: str) -> Any:
        """As of `ase_systems.Seen`: all looks of the first walker, then those of the second, and so on."""
        names = ("volume", "kinetic", "pull", "pressure", "cell", "total", "potential")
        if name not in names:
            raise AttributeError(name)
        series = np.array([row[names.index(name)] for row in self.rows])  # [looks, walkers, ...]
        return series.swapaxes(0, 1).reshape(-1, *series.shape[2:])

    @property
    def dof(self) -> int:
        return int(self.state.dof[0])

    @property
    def edges(self) -> Any:
        """The first walker's cell at the end."""
        return self.state.cells[0].numpy()

    @property
    def cell_mass(self) -> float:
        return float(self.integrator.mass(self.state)[0])


def seen(
    atoms: Any, steps: int, every: int = 5, skip: int = 200, walkers: int = 30, seed: int = 0, **changes: Any
) -> Together:
    """As `ase_systems.seen`, of many walkers; `steps` are those of all of them, beside those that are skipped.

    The skipped ones are of Langevin dynamics: all walkers begin alike, and chains alone would keep them in step.
    """
    skipped = Together(atoms, walkers, seed=2 * seed, **{**changes, "thermostat": "langevin"})
    skipped.move(skip)
    found = Together(atoms, walkers, seed=2 * seed + 1, **changes)
    found.take_over(skipped.state)
    for _ in range(steps // walkers // every):
        found.move(every)
        found.look()
    return found
