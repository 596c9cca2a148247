"""Models that cost next to nothing, and jobs of i-PI's engine with them; this file is their family."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase import units
from ase.calculators.calculator import Calculator, all_changes
from ase.io import read

from psiflow_cli.samplers import ipi as engine
from psiflow_cli.worker.md.checkpoint import trajectory_name

Wire = dict[str, Any]
CONTEXT: Wire = {"scratch": "", "device": "cpu", "dtype": None}
FREE = {"force": None, "temperature": None, "distance": None, "spread": None}
HBAR = units._hbar * units.J * units.second
"""In Å·sqrt(u·eV)."""


class Springs(Calculator):
    """Each atom bound to its site, which moves with the cell, by a spring (eV/Å²); the cell (Å) to a cube, as stiff."""

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, spring: float, sites: Any, cube: float | None = None, stiffness: float = 0.0) -> None:
        super().__init__()
        self.spring, self.sites, self.cube, self.stiffness = spring, np.array(sites), cube, stiffness

    def calculate(self, atoms: Any = None, properties: Any = (), system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        cell = atoms.cell.array if self.cube else np.identity(3)
        away = atoms.positions - self.sites @ cell
        self.results = {"energy": 0.5 * self.spring * float((away**2).sum()), "forces": -self.spring * away}
        if self.cube:
            strain = cell @ cell.T / self.cube**2 - np.identity(3)
            self.results["energy"] += 0.5 * self.stiffness * float((strain**2).sum())
            virial = self.spring * away.T @ away + 2.0 * self.stiffness / self.cube**2 * cell.T @ strain @ cell
            self.results["stress"] = (virial / atoms.get_volume())[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]


class Water(Calculator):
    """Harmonic in the lengths of the bonds (eV/Å²) and in the angle (eV): quadratic but for the bonds' turning."""

    implemented_properties = ("energy", "forces")
    stretch, bend, length, angle = 48.0, 3.3, 0.96, math.radians(104.5)

    def calculate(self, atoms: Any = None, properties: Any = (), system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        bonds = atoms.positions[1:] - atoms.positions[0]
        lengths = np.linalg.norm(bonds, axis=1)
        ways = bonds / lengths[:, None]
        cosine = float(ways[0] @ ways[1])
        bent, long = math.acos(cosine) - self.angle, lengths - self.length
        slope = -1.0 / math.sqrt(1.0 - cosine**2)
        pulls = [
            -self.stretch * long[i] * ways[i] - self.bend * bent * slope * (ways[1 - i] - cosine * ways[i]) / lengths[i]
            for i in (0, 1)
        ]
        energy = 0.5 * self.stretch * float(long @ long) + 0.5 * self.bend * bent**2
        self.results = {"energy": energy, "forces": np.array([-pulls[0] - pulls[1], *pulls])}


class Blind(Calculator):
    """Free atoms, of a model that has no stress."""

    implemented_properties = ("energy", "forces")

    def calculate(self, atoms: Any = None, properties: Any = (), system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": 0.0, "forces": np.zeros((len(atoms), 3))}


def calculator(member: str, context: Wire) -> Any:
    """This file as a model family: a member is the JSON of what its calculator is made with."""
    settings = json.loads(member)
    return {"springs": Springs, "water": Water, "blind": Blind}[settings.pop("kind")](**settings)


def springs(spring: float, start: Any, **more: float) -> str:
    sites = np.linalg.solve(start.cell.array.T, start.positions.T).T if more else start.positions
    return json.dumps({"kind": "springs", "spring": spring, "sites": sites.tolist(), **more})


def gas(count: int, element: str = "H", cube: float | None = None) -> Any:
    """Atoms on a grid, 3 Å apart, or anywhere in a cube."""
    if cube:
        sites = np.random.default_rng(5).random((count, 3)) * cube
        return ase.Atoms(f"{element}{count}", sites, cell=[cube] * 3, pbc=True)
    return ase.Atoms(f"{element}{count}", [[3.0 * i, 0.0, 0.0] for i in range(count)])


def job(folder: Path, atoms: Any, *members: str, temperature: float = 300.0, **changes: Any) -> Wire:
    start = {
        **{"id": "0" * 16, "symbols": atoms.get_chemical_symbols(), "positions": atoms.positions.tolist()},
        **{"cell": atoms.cell.tolist() if atoms.cell.rank else None, "pbc": atoms.pbc.tolist()},
        **changes.pop("start", {}),
    }
    return {
        "folder": str(folder),
        "walkers": [{"walker": 2, "start": start, "temperature": [temperature] * 2}],
        "model": {"family": __file__, "members": list(members)},
        **{"ensemble": "nvt", "thermostat": "langevin", "timestep": 1.0, "friction": 20.0},
        **{"thermostat_time": 50.0, "chain_length": 3, "barostat_time": 100.0, "pressure": 1.0, "cell": "isotropic"},
        **{"ramp_steps": None, "exchange": None, "steps": 40, "every": 5, "block": 40, "batch": 1, "seed": 11},
        **{"beads": 4, "plumed": None, "limits": FREE},
        **changes,
    }


def run(wanted: Wire, module: Any = engine) -> tuple[Wire, bytes]:
    while True:
        (said,) = module.advance(wanted, CONTEXT)["walkers"]
        if said["stopped"] or said["step"] >= wanted["steps"]:
            return said, (Path(wanted["folder"]) / trajectory_name(2)).read_bytes()[: said["bytes"]]


def frames(wanted: Wire, module: Any = engine) -> list[Any]:
    said, _ = run(wanted, module)
    assert said["stopped"] is None
    return list(read(Path(wanted["folder"]) / trajectory_name(2), ":", format="extxyz"))


def mean(values: Any, blocks: int = 15) -> tuple[float, float]:
    """The mean of a series, without its first tenth, and its standard error from blocks."""
    values = np.asarray(values)[len(values) // 10 :]
    parts = values[: len(values) // blocks * blocks].reshape(blocks, -1).mean(axis=1)
    return float(parts.mean()), float(parts.std(ddof=1) / blocks**0.5)


def harmonic(beads: int, quantum: float, temperature: float) -> float:
    """Potential energy (eV) of a harmonic oscillator of so large a quantum (eV), of a ring of beads, exactly."""
    kT = units.kB * temperature
    inner = 2.0 * beads * kT * np.sin(np.arange(beads) * np.pi / beads)
    return float((0.5 * quantum**2 * kT / (inner**2 + quantum**2)).sum())
