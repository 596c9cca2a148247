"""Systems whose statistical mechanics is known, as a model family, and what their dynamics are measured by."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import neighbor_list

from psiflow_cli.samplers.ase import integrators
from psiflow_cli.worker.md import velocities

KELVIN = 300.0
KT = units.kB * KELVIN
SPRING, REST, CUTOFF = 1.0, 2.5, 2.7
"""eV/Å² and Å: of the bonds between neighbours in a crystal of copper."""


class Gas(Calculator):
    """Atoms that do not feel each other."""

    implemented_properties = ("energy", "forces", "stress")

    def calculate(self, atoms: Any = None, properties: Any = (), system_changes: Any = all_changes) -> None:
        self.atoms = atoms.copy()
        self.results = {"energy": 0.0, "forces": np.zeros((len(atoms), 3)), "stress": np.zeros(6)}


class Bonds(Calculator):
    """Springs between atoms that were neighbours at first: a solid that expands and shears; it notes what is asked."""

    implemented_properties = ("energy", "free_energy", "forces", "stress")

    def __init__(self, atoms: Any) -> None:
        super().__init__()
        first, second, image = neighbor_list("ijS", atoms, CUTOFF)  # type: ignore[no-untyped-call]
        once = [n for n in range(len(first)) if (first[n], *image[n]) < (second[n], *(-image[n]))]
        self.first, self.second, self.image = first[once], second[once], image[once].astype(float)
        self.ends = np.zeros((len(atoms), len(once)))
        np.add.at(self.ends, (self.first, np.arange(len(once))), 1.0)
        np.add.at(self.ends, (self.second, np.arange(len(once))), -1.0)
        self.asked: list[tuple[str, ...]] = []

    def calculate(self, atoms: Any = None, properties: Any = (), system_changes: Any = all_changes) -> None:
        self.atoms = atoms.copy()
        self.asked.append(tuple(properties))
        cell = atoms.cell.array
        along = atoms.positions[self.second] - atoms.positions[self.first] + self.image @ cell
        length = np.sqrt((along**2).sum(axis=1))
        pull = (SPRING * (length - REST) / length)[:, None] * along
        energy = 0.5 * SPRING * float(((length - REST) ** 2).sum())
        self.results = {"energy": energy, "free_energy": energy, "forces": self.ends @ pull}
        if "stress" in properties:  # as some models leave it out where it is not asked for
            stress = along.T @ pull / abs(np.linalg.det(cell))
            self.results["stress"] = stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]


def calculator(member: str, context: dict[str, Any]) -> Any:
    """This file as a model family: a member is `gas`, or JSON of the crystal that has the bonds."""
    if member == "gas":
        return Gas()
    return Bonds(Atoms(**json.loads(member)))


def torchsim(member: str, context: dict[str, Any], stress: bool) -> Any:
    """The same for many walkers at once."""
    from tests.samplers.batch_systems import interface

    return interface(calculator(member, context))


def member(atoms: Any) -> str:
    """The name of the model that binds the neighbours in a crystal."""
    facts = {"symbols": atoms.get_chemical_symbols(), "positions": atoms.positions.tolist()}
    return json.dumps({**facts, "cell": atoms.cell.tolist(), "pbc": True})


def solid(cells: int = 2) -> Any:
    """A crystal of copper, 32 atoms, at about the density it has at 5000 bar and 300 K."""
    atoms = bulk("Cu", cubic=True) * (cells, cells, cells)
    atoms.calc = Bonds(atoms)
    atoms.set_cell(atoms.cell * 0.975, scale_atoms=True)
    return atoms


class Seen:
    """What dynamics of the integrators went through, one row for each look."""

    def __init__(self, atoms: Any, md: Any, job: dict[str, Any], dof: int) -> None:
        self.atoms, self.md, self.job, self.dof = atoms, md, job, dof
        self.sites = atoms.get_positions()
        self.rows: list[tuple[Any, ...]] = []

    def look(self) -> None:
        """Take the present state down, the momenta where they are canonical."""
        atoms = self.atoms
        forces, volume = atoms.get_forces(), abs(np.linalg.det(atoms.cell.array))
        momenta = atoms.get_momenta() + integrators.half_kick(self.job) * units.fs * forces
        kinetic = (momenta / self.md.masses).T @ momenta
        pull = -float(((atoms.positions - self.sites) * forces).sum())
        moving = self.job["ensemble"] in ("npt", "nvst")
        stress = atoms.get_stress(voigt=False) if moving else np.zeros((3, 3))
        cell = next((np.array(getattr(self.md, name)) for name in _MOMENTA if hasattr(self.md, name)), np.zeros(()))
        self.rows.append((volume, np.trace(kinetic) / 2, pull, kinetic / volume - stress, cell, momenta.sum(axis=0)))

    def __getattr__(self, name: str) -> Any:
        """Of all looks: `volume`, `kinetic`, `pull`, `pressure` (a tensor), `cell` (its momentum), `total` momentum."""
        names = ("volume", "kinetic", "pull", "pressure", "cell", "total")
        if name not in names:
            raise AttributeError(name)
        return np.array([row[names.index(name)] for row in self.rows])

    @property
    def edges(self) -> Any:
        """The cell at the end."""
        return self.atoms.cell.array

    @property
    def cell_mass(self) -> float:
        return float(self.md.barostat_mass if hasattr(self.md, "barostat_mass") else self.md._barostat.W)


_MOMENTA = ("p_eps", "_p_g", "_p_eps")
JOB: dict[str, Any] = {
    **{"ensemble": "npt", "thermostat": "langevin", "timestep": 4.0, "friction": 10.0, "thermostat_time": 50.0},
    **{"chain_length": 3, "barostat_time": 300.0, "pressure": 5000.0, "cell": "isotropic"},
}


def seen(atoms: Any, steps: int, every: int = 5, skip: int = 500, seed: int = 0, **changes: Any) -> Seen:
    """Move the atoms by so many steps with the integrators of the engine, from the Maxwell-Boltzmann distribution."""
    job: dict[str, Any] = {**JOB, **changes}
    rng, rest = velocities.generator(seed, 0), velocities.conserves_momentum(job)
    fixed = [int(i) for constraint in atoms.constraints for i in constraint.index]
    dof = velocities.degrees_of_freedom(len(atoms) - len(fixed), rest and not fixed)
    atoms.set_momenta(velocities.draw(atoms.get_masses(), KELVIN, rng, rest, fixed))
    md = integrators.make(atoms, job, KELVIN, dof, rng, {})
    found = Seen(atoms, md, job, dof)
    for step in range(1, steps + 1):
        md.step()
        if step > skip and step % every == 0:
            found.look()
    return found


def error(series: Any) -> Any:
    """Standard error of the mean of a correlated series, from the spread of ten blocks."""
    blocks = [part.mean(axis=0) for part in np.array_split(np.asarray(series), 10)]
    return np.std(blocks, axis=0, ddof=1) / math.sqrt(10)


def agrees(series: Any, wanted: float, sigmas: float = 4.5) -> bool:
    """Whether the mean of a series is what it should be, by its statistical error."""
    return bool(abs(np.mean(series) - wanted) < sigmas * error(series))
