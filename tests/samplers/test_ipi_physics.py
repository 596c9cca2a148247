"""i-PI's engine: the quantum statistics of theory, and cells that move as they should."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

np = pytest.importorskip("numpy")
ase = pytest.importorskip("ase")
pytest.importorskip("ipi")

from ase import units  # noqa: E402

from psiflow_cli.samplers.ipi import barostats  # noqa: E402
from psiflow_cli.samplers.ipi.force_field import ModelForceField  # noqa: E402
from psiflow_cli.samplers.ipi.ring_polymer import RingPolymers  # noqa: E402
from psiflow_cli.worker.md import velocities  # noqa: E402
from tests.samplers.ipi_systems import (  # noqa: E402
    HBAR,
    Springs,
    Water,
    frames,
    gas,
    harmonic,
    job,
    mean,
    springs,
)


@pytest.mark.parametrize("thermostat", ["langevin", pytest.param("csvr", marks=pytest.mark.full)])
def test_harmonic_oscillators_have_the_energies_of_theory(tmp_path: Path, thermostat: str) -> None:
    """Deep in the quantum regime, and for so many beads exactly: potential, kinetic energy, temperature."""
    atoms, beads, temperature, spring = gas(40), 6, 150.0, 2.0
    wanted = job(tmp_path, atoms, springs(spring, atoms), beads=beads, temperature=temperature, thermostat=thermostat)
    found = frames({**wanted, "steps": 1600, "every": 4, "block": 1600, "timestep": 0.75})
    quantum = HBAR * math.sqrt(spring / atoms.get_masses()[0])
    assert quantum / (units.kB * temperature) > 6.0
    exact = harmonic(beads, quantum, temperature)
    potential, error = mean(np.array([a.info["model_energy"] for a in found]).reshape(-1, beads).mean(axis=1))
    assert error < 0.015 * 120 * exact
    # of the integrator itself some 0.1 %
    assert abs(potential - 120 * exact) < 4 * error + 0.002 * 120 * exact
    kinetic, error = mean([a.info["kinetic_energy"] for a in found[::beads]])
    resting = 1.5 * units.kB * temperature if thermostat == "csvr" else 0.0
    assert abs(kinetic + resting - 120 * exact) < 4 * error + 0.002 * 120 * exact
    hot, error = mean([a.info["temperature"] for a in found[::beads]])
    assert error < 2.0
    assert abs(hot - temperature) < 4 * error


def test_atoms_that_do_not_move(tmp_path: Path) -> None:
    atoms = gas(3)
    found = frames(job(tmp_path, atoms, springs(2.0, atoms), steps=1000, block=1000, start={"fixed": [0, 2]}))
    assert all(abs(a.positions - atoms.positions)[[0, 2]].max() < 1e-12 for a in found)
    assert np.std([a.positions[1] for a in found], axis=0).min() > 0.05
    hot, error = mean([a.info["temperature"] for a in found[::4]])
    assert abs(hot - 300.0) < 4 * error < 100.0


@pytest.mark.parametrize("cell", [pytest.param("isotropic", marks=pytest.mark.full), "flexible"])
def test_pressure_moves_the_cell_the_right_way(tmp_path: Path, cell: str) -> None:
    """Against the volume where the model's stress balances the pressure and the kinetic energy."""
    atoms = gas(2, "Ar", cube=4.0)
    volumes = {}
    for bar in (-30000.0, 60000.0):
        same = {"ensemble": "npt", "cell": cell, "pressure": bar}
        wanted = job(tmp_path / str(bar), atoms, springs(1.0, atoms, cube=4.0, stiffness=10.0), beads=2, **same)
        found = frames({**wanted, "steps": 700, "block": 700})
        volumes[bar], _ = mean([a.info["volume"] for a in found[::2]])
        measured, error = mean([a.info["pressure"] for a in found[::2]])
        assert abs(measured - bar) < 4 * error + 2000.0
    # 1.5 k (x² - 1)² with x = L/4 Å: its derivative by the volume is the pressure at rest
    for bar, volume in volumes.items():
        x = (volume / 64.0) ** (1 / 3)
        assert -1.5 * 10.0 * 2 * (x**2 - 1) * 2 * x / (3 * 64.0 * x**2) / units.bar == pytest.approx(bar, abs=8000.0)
    assert volumes[60000.0] < 64.0 < volumes[-30000.0]


@pytest.mark.parametrize("ensemble", ["npt", "nvst"])
def test_a_flexible_cell_conserves_what_it_should(ensemble: str) -> None:
    """Without thermostats, to the square of the timestep; a constant volume to rounding. The cell lies anyhow."""
    atoms = gas(3, "Ar", cube=4.0)
    model = Springs(0.5, atoms.get_scaled_positions(), cube=4.0, stiffness=5.0)
    atoms.rotate(35, (1, 2, 3), rotate_cell=True)
    first = atoms.cell.array.T.copy()
    drifts = []
    for timestep in (2.0, 1.0):
        wanted = job(Path(), atoms, beads=1, ensemble=ensemble, cell="flexible", timestep=timestep, friction=1e-12)
        rings = RingPolymers(
            wanted, ModelForceField(atoms.copy(), model, True, None), 300.0, np.random.default_rng(3), ()
        )
        rings.field.bind(rings.forces.mforces[0])
        rings.begin(velocities.draw(atoms.get_masses(), 300.0, rings.rng, False))
        cell = rings.barostat
        cell.thermostat.tau = 1e30
        barostats.keep_volume(cell)
        found = []
        for _ in range(int(400 / timestep)):
            rings.step()
            stretch = np.diag(np.array(rings.cell.h) @ np.linalg.inv(first))
            measure = -rings.kT * float(np.log(stretch) @ np.diag(cell.L))
            found.append(float(rings.modes.kin + rings.forces.pot + cell.kin + cell.pot) + measure)
            if ensemble == "nvst":
                assert np.linalg.det(np.array(rings.cell.h)) == pytest.approx(64.0, rel=1e-9)
        drifts.append(max(found[1:]) - min(found[1:]))
        assert np.ptp(stretch) > 0.005
    assert drifts[0] < 0.02
    assert drifts[1] < 0.35 * drifts[0]


@pytest.mark.full
def test_a_flexible_cell_knows_no_axes(tmp_path: Path) -> None:
    """Cells of two free atoms are distributed as the weight det(h)^(N-2) exp(-U(h)/kT) says, by a walk of its own."""
    kT, cube = units.kB * 300.0, 3.0
    atoms = gas(2, "Ar", cube=cube)
    model = springs(0.0, atoms, cube=cube, stiffness=5.0 * kT)
    changes = {"ensemble": "npt", "cell": "flexible", "pressure": 0.0, "barostat_time": 20.0, "beads": 1, "every": 4}
    found = frames(job(tmp_path, atoms, model, steps=60000, block=60000, **changes))
    rng, cells = np.random.default_rng(1), np.tile(cube * np.identity(3), (2000, 1, 1))
    sizes = []
    for step in range(2500):
        tried = cells + 0.35 * rng.standard_normal(cells.shape)
        strain = [h @ h.transpose(0, 2, 1) / cube**2 - np.identity(3) for h in (cells, tried)]
        rise = 2.5 * ((strain[1] ** 2).sum(axis=(1, 2)) - (strain[0] ** 2).sum(axis=(1, 2)))
        taken = np.log(rng.random(len(cells))) < -rise
        cells[taken] = tried[taken]
        if step > 500:
            sizes.append([*np.linalg.norm(cells, axis=2).mean(axis=0), abs(np.linalg.det(cells)).mean()])
    exact = np.mean(sizes, axis=0)
    for axis in range(3):
        length, error = mean([a.cell.lengths()[axis] for a in found])
        assert abs(length - exact[axis]) < 4 * error + 0.01 < 0.3
    volume, error = mean([a.info["volume"] for a in found])
    assert abs(volume - exact[3]) < 4 * error < 4.0


@pytest.mark.full
def test_a_water_molecule_has_the_energies_of_harmonic_theory(tmp_path: Path) -> None:
    """Within what its bonds' turning makes of a harmonic molecule: some percent."""
    from ase.vibrations import Vibrations

    half = Water.angle / 2
    atoms = ase.Atoms("OH2", [[0, 0, 0], *([math.sin(s * half), math.cos(half), 0] for s in (1, -1))])
    atoms.positions[1:] *= Water.length
    atoms.calc = Water()
    vibrations = Vibrations(atoms, name=str(tmp_path / "vibrations"))
    vibrations.run()
    quanta = vibrations.get_energies().real[-3:]
    assert quanta[-1] == pytest.approx(0.47, abs=0.03)
    beads, temperature = 16, 300.0
    wanted = job(tmp_path / "walker", atoms, json.dumps({"kind": "water"}), beads=beads, temperature=temperature)
    found = frames({**wanted, "steps": 40000, "every": 10, "block": 40000, "timestep": 0.25})
    exact = sum(harmonic(beads, float(quantum), temperature) for quantum in quanta)
    potential, error = mean(np.array([a.info["model_energy"] for a in found]).reshape(-1, beads).mean(axis=1))
    assert abs(potential - exact) < 4 * error + 0.03 * exact
    kinetic, error = mean([a.info["kinetic_energy"] for a in found[::beads]])
    assert error < 0.02 * exact
    assert abs(kinetic - exact - 3.0 * units.kB * temperature) < 4 * error + 0.03 * exact
