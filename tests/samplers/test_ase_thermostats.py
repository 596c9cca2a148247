"""Thermostats of the ASE engine: canonical distributions, ramps, what does not move, and masses."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("ase.md.langevinbaoab", reason="needs ASE 3.27 or later")

from ase import Atoms, units  # noqa: E402
from ase.constraints import FixAtoms  # noqa: E402
from ase.io import read  # noqa: E402
from scipy import stats  # noqa: E402

from psiflow_cli.samplers import ase as engine  # noqa: E402
from psiflow_cli.worker.md import checkpoint  # noqa: E402
from tests.samplers import ase_systems  # noqa: E402
from tests.samplers.ase_systems import KT, Gas, agrees, seen, solid  # noqa: E402

THERMOSTATS = ("langevin", "csvr", "nose-hoover")
ONE = ["csvr", *(pytest.param(name, marks=pytest.mark.full) for name in ("langevin", "nose-hoover"))]
MOVING = [("nve", "langevin"), *(("nvt", thermostat) for thermostat in THERMOSTATS)]


@pytest.mark.parametrize("thermostat", THERMOSTATS)
def test_a_solid_is_canonical(thermostat: str) -> None:
    """Its kinetic energy by a Kolmogorov-Smirnov test, its positions by <sum of q dU/dq> = kT per degree of freedom."""
    found = seen(solid(), 4000, ensemble="nvt", thermostat=thermostat, friction=50.0, thermostat_time=20.0)
    assert found.dof == (96 if thermostat == "langevin" else 93)
    assert stats.kstest(found.kinetic[::8] / KT, stats.gamma(0.5 * found.dof).cdf).pvalue > 1e-3
    variance = (found.kinetic - found.kinetic.mean()) ** 2 / KT**2
    assert agrees(found.kinetic / KT, 0.5 * found.dof)
    assert agrees(variance, 0.5 * found.dof)
    assert agrees(found.pull / KT, 93.0)
    if thermostat != "langevin":
        assert np.abs(found.total).max() < 1e-9


@pytest.mark.full
@pytest.mark.parametrize("thermostat", THERMOSTATS)
def test_a_solid_is_canonical_long(thermostat: str) -> None:
    changes: dict[str, Any] = {"ensemble": "nvt", "thermostat": thermostat, "friction": 50.0, "thermostat_time": 40.0}
    found = seen(solid(), 80000, timestep=2.0, skip=2000, **changes)
    assert stats.kstest(found.kinetic[::20] / KT, stats.gamma(0.5 * found.dof).cdf).pvalue > 1e-3
    assert agrees(found.kinetic / KT, 0.5 * found.dof)
    assert agrees(found.pull / KT, 93.0)


@pytest.mark.parametrize(("atoms", "fixed", "dof"), [(2, [], 3), (3, [1], 6), (1, [], 3)])
def test_velocity_rescaling_counts_what_moves(atoms: int, fixed: list[int], dof: int) -> None:
    """Two atoms at rest together have three degrees of freedom; beside a fixed one, three each."""
    gas = Atoms(f"He{atoms}", np.zeros((atoms, 3)))
    gas.calc = Gas()
    gas.set_constraint(FixAtoms(indices=fixed))  # type: ignore[no-untyped-call]
    gas.set_cell([9, 9, 9])
    found = seen(gas, 4000, ensemble="nvt", thermostat="csvr", thermostat_time=8.0)
    assert found.dof == dof
    assert stats.kstest(found.kinetic[::2] / KT, stats.gamma(0.5 * dof).cdf).pvalue > 1e-3


def test_chains_conserve_their_energy_by_the_second_order_of_the_timestep() -> None:
    spread = []
    for timestep, steps in ((4.0, 400), (2.0, 800)):
        found = seen(solid(), 0, ensemble="nvt", thermostat="nose-hoover", timestep=timestep)
        energies = []
        for _ in range(steps):
            found.md.step()
            energies.append(found.md.get_conserved_energy())
        spread.append(np.ptp(energies))
    assert spread[0] < 0.03 * KT * found.dof / 2
    assert spread[1] < 0.35 * spread[0]


def test_energy_does_not_drift() -> None:
    """Over 6,000 steps of velocity Verlet of an anharmonic solid, less than 1e-6 of the kinetic energy in a step."""
    found = seen(solid(), 0, ensemble="nve")
    atoms, energies = found.atoms, []
    for _ in range(6000):
        found.md.step()
        energies.append(atoms.calc.results["energy"] + atoms.get_kinetic_energy())
    whole = 0.5 * found.dof * KT
    assert np.ptp(energies) < 0.02 * whole
    slope = np.polyfit(np.arange(6000), energies, 1)[0]
    assert abs(slope) * 6000 < 0.2 * np.std(energies)
    assert abs(slope) < 1e-7 * whole


# ---------------------------------------------------------------- through the engine


def job(folder: Path, start: dict[str, Any], member: str, **changes: Any) -> dict[str, Any]:
    default: dict[str, Any] = {
        **{"folder": str(folder), "walkers": [{"walker": 3, "start": start, "temperature": [300.0, 300.0]}]},
        "model": {"family": ase_systems.__file__, "members": [member]},
        **{"ensemble": "nvt", "thermostat": "langevin", "timestep": 4.0, "friction": 50.0, "thermostat_time": 30.0},
        **{"chain_length": 3, "barostat_time": 300.0, "pressure": 5000.0, "cell": "isotropic"},
        **{"steps": 60, "every": 5, "block": 60, "seed": 7, "limits": {}},
    }
    return default | changes


def crystal(**facts: Any) -> dict[str, Any]:
    atoms = solid()
    return {
        **{"id": "0" * 16, "symbols": atoms.get_chemical_symbols(), "positions": atoms.positions.tolist()},
        **{"cell": atoms.cell.tolist(), "pbc": [True] * 3},
        **facts,
    }


def finish(task: dict[str, Any]) -> bytes:
    while True:
        (said,) = engine.advance(task, {})["walkers"]
        assert said["stopped"] is None
        if said["step"] >= task["steps"]:
            return Path(task["folder"], checkpoint.trajectory_name(3)).read_bytes()


def frames(task: dict[str, Any]) -> list[Any]:
    finish(task)
    return list(read(Path(task["folder"], checkpoint.trajectory_name(3)), ":", format="extxyz"))


MODEL = ase_systems.member(solid())
CUT = [
    *(("nvt", thermostat, "isotropic") for thermostat in THERMOSTATS),
    *(("npt", thermostat, cell) for thermostat in ("langevin", "nose-hoover") for cell in ("isotropic", "flexible")),
    *(("nvst", thermostat, "flexible") for thermostat in ("langevin", "nose-hoover")),
]


@pytest.mark.parametrize(("ensemble", "thermostat", "cell"), CUT)
def test_blocks_of_a_ramp_leave_no_trace(tmp_path: Path, ensemble: str, thermostat: str, cell: str) -> None:
    """The trajectory and the last checkpoint: masses of chains and cells follow from the step, not from the block."""
    changes = {"ensemble": ensemble, "thermostat": thermostat, "cell": cell, "ramp_steps": 50}
    texts = []
    for block in (60, 7, 1):
        task = job(tmp_path / str(block), crystal(), MODEL, block=block, **changes)
        task["walkers"][0]["temperature"] = [100.0, 400.0]
        texts.append((finish(task), Path(task["folder"], "state.json").read_bytes()))
    assert texts[0] == texts[1] == texts[2]
    assert texts[0][0].count(b"target_temperature=") == 12


@pytest.mark.parametrize("thermostat", ONE)
def test_a_ramp_ends_at_its_temperature(tmp_path: Path, thermostat: str) -> None:
    task = job(tmp_path, crystal(), MODEL, thermostat=thermostat, ramp_steps=600, steps=2600, block=2600)
    task["walkers"][0]["temperature"] = [50.0, 500.0]
    found = frames(task)
    targets = [frame.info["target_temperature"] for frame in found]
    assert targets[59] == pytest.approx(50.0 + 450.0 * 300 / 600)
    assert targets[119:] == [500.0] * (len(found) - 119)
    kelvin = np.array([frame.info["temperature"] for frame in found])
    assert np.mean(kelvin[:10]) < 120.0
    assert agrees(kelvin[160:], 500.0)


@pytest.mark.parametrize(("ensemble", "thermostat"), MOVING)
def test_fixed_atoms_do_not_move_at_all(tmp_path: Path, ensemble: str, thermostat: str) -> None:
    fixed = [0, 5, 31]
    start = crystal(fixed=fixed)
    task = job(tmp_path, start, MODEL, ensemble=ensemble, thermostat=thermostat, steps=600, block=200)
    for frame in frames(task):
        assert frame.positions[fixed].tolist() == [start["positions"][i] for i in fixed]
        assert frame.info["temperature"] == pytest.approx(2 * frame.info["kinetic_energy"] / (87 * units.kB))
        moved = np.linalg.norm(frame.positions - start["positions"], axis=1)
        assert np.delete(moved, fixed).min() > 1e-6
    last = checkpoint.read(tmp_path)
    assert last is not None
    (state,) = last.walkers
    assert not np.array(state.momenta)[fixed].any()


@pytest.mark.parametrize("thermostat", ONE)
def test_fixed_atoms_leave_the_others_canonical(thermostat: str) -> None:
    atoms = solid()
    atoms.set_constraint(FixAtoms(indices=[0, 5, 31]))
    found = seen(atoms, 3000, ensemble="nvt", thermostat=thermostat, friction=50.0, thermostat_time=20.0)
    assert found.dof == 87
    assert stats.kstest(found.kinetic[::8] / KT, stats.gamma(43.5).cdf).pvalue > 1e-3
    assert agrees(found.pull / KT, 87.0)


@pytest.mark.parametrize("ensemble", ["npt", "nvst"])
def test_atoms_cannot_be_fixed_where_the_cell_moves(tmp_path: Path, ensemble: str) -> None:
    with pytest.raises(ValueError, match="which fixed atoms cannot follow"):
        engine.advance(job(tmp_path / "x", crystal(fixed=[0]), MODEL, ensemble=ensemble), {})
    with pytest.raises(ValueError, match="langevin or nose-hoover"):
        engine.advance(job(tmp_path / "x", crystal(), MODEL, ensemble=ensemble, thermostat="csvr"), {})


@pytest.mark.parametrize(("ensemble", "thermostat", "cell"), CUT[3:])
def test_a_cell_that_collapses_stops_its_walker(tmp_path: Path, ensemble: str, thermostat: str, cell: str) -> None:
    """A timestep far too long ends in a walker that is stopped, with its reason, and in no error."""
    changes = {"ensemble": ensemble, "thermostat": thermostat, "cell": cell, "barostat_time": 1.0, "steps": 400}
    task = job(tmp_path, crystal(), MODEL, timestep=40.0, every=1, block=400, **changes)
    with np.errstate(all="ignore"):
        (said,) = engine.advance(task, {})["walkers"]
    assert said["stopped"]["kind"] in ("nan", "cell")
    assert said["stopped"]["step"] == said["step"] < 400
    assert engine.advance(task, {})["walkers"] == [said]


@pytest.mark.full
@pytest.mark.parametrize(("ensemble", "thermostat", "cell"), CUT)
def test_kills_leave_no_trace(tmp_path: Path, ensemble: str, thermostat: str, cell: str) -> None:
    """SIGKILL at ten moments of a run, in every ensemble: the trajectory and the last checkpoint are the same."""
    changes = {"ensemble": ensemble, "thermostat": thermostat, "cell": cell, "steps": 3000, "every": 3}
    whole = job(tmp_path / "whole", crystal(), MODEL, block=3000, **changes)
    task = job(tmp_path / "killed", crystal(), MODEL, block=100, **changes)
    (tmp_path / "task.json").write_text(json.dumps(task))
    script = (
        "import json, sys\n"
        "from psiflow_cli.samplers.ase import advance\n"
        "task = json.load(open(sys.argv[1]))\n"
        "while advance(task, {})['walkers'][0]['step'] < task['steps']: print('block', flush=True)\n"
    )
    command, moments = [sys.executable, "-c", script, str(tmp_path / "task.json")], random.Random(1)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for _ in range(10):
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=env) as process:
            assert process.stdout is not None
            process.stdout.readline()  # the first block is done, so every attempt gets on
            time.sleep(moments.uniform(0.0, 0.1))
            process.kill()
    assert finish(task) == finish(whole)
    assert (tmp_path / "killed/state.json").read_bytes() == (tmp_path / "whole/state.json").read_bytes()


@pytest.mark.parametrize("masses", [{"H": 3.0}, [3.0, 3.0]])
def test_masses_set_the_frequency(tmp_path: Path, masses: Any) -> None:
    """Of two atoms on a spring, from the extremes of its length: omega² is 2 k / m."""
    pair = Atoms("H2", [[0, 0, 0], [0, 0, 2.5]], cell=[9, 9, 9], pbc=True)
    start = {"id": "0" * 16, "symbols": ["H", "H"], "positions": [[0, 0, 0], [0, 0, 2.6]]}
    start |= {"cell": pair.cell.tolist(), "pbc": [True] * 3, "masses": masses}
    task = job(tmp_path, start, ase_systems.member(pair), ensemble="nve", timestep=0.5, every=1, steps=800, block=800)
    task["walkers"][0]["temperature"] = [0.0, 0.0]
    length = np.array([frame.get_distance(0, 1) for frame in frames(task)])
    crossings = np.flatnonzero((length[1:] - 2.5) * (length[:-1] - 2.5) < 0)
    assert len(crossings) > 5
    exact = crossings + (length[crossings] - 2.5) / (length[crossings] - length[crossings + 1])
    period = 2 * float(np.mean(np.diff(exact))) * 0.5
    assert period == pytest.approx(2 * math.pi / math.sqrt(2 * ase_systems.SPRING / 3.0) / units.fs, rel=1e-3)
