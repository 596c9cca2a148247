"""Replica exchange through the ASE and the batched engine, of oscillators, whose energies have a known distribution."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("ase.md.langevinbaoab", reason="needs ASE 3.27 or later")

from ase import units  # noqa: E402
from ase.io import read  # noqa: E402
from scipy import special, stats  # noqa: E402

from psiflow_cli.samplers import ase as engine  # noqa: E402
from psiflow_cli.worker.md import checkpoint  # noqa: E402
from tests.samplers import ase_systems, test_ase  # noqa: E402

LADDER = (300.0, 400.0, 520.0)
PAIRS = ((300.0, 400.0), (400.0, 520.0))
ATOMS = 4
SITES = [[4.0 * n, 0.0, 0.0] for n in range(ATOMS)]
HARMONIC = Path(__file__).parents[1] / "contracts" / "harmonic.py"
MEMBER = test_ase.harmonic(test_ase.Atoms(f"He{ATOMS}", SITES))


def job(folder: Path, **changes: Any) -> dict[str, Any]:
    start = {"id": "0" * 16, "symbols": ["He"] * ATOMS, "positions": SITES, "cell": None, "pbc": [False] * 3}
    walkers = [{"walker": n, "start": start, "temperature": [kelvin, kelvin]} for n, kelvin in enumerate(LADDER)]
    return {
        **{"folder": str(folder), "walkers": walkers, "model": {"family": test_ase.__file__, "members": [MEMBER]}},
        **{"ensemble": "nvt", "thermostat": "langevin", "timestep": 4.0, "friction": 100.0, "thermostat_time": 30.0},
        **{"chain_length": 3, "barostat_time": 300.0, "pressure": 1.0, "cell": "isotropic", "exchange": 10},
        **{"steps": 60, "every": 10, "block": 60, "seed": 7, "limits": {}, "ramp_steps": None},
        **changes,
    }


def finish(task: dict[str, Any], engine: Any = engine) -> list[bytes]:
    while True:
        said = engine.advance(task, {"device": "cpu", "threads": 1})["walkers"]
        if all(each["stopped"] or each["step"] >= task["steps"] for each in said):
            return [Path(task["folder"], checkpoint.trajectory_name(n)).read_bytes() for n in range(len(LADDER))]


def batched(folder: Path, **changes: Any) -> dict[str, Any]:
    """The same oscillators for the batched engine, in a cell."""
    edge = 5.0 * ATOMS
    (folder / "sites.json").write_text(json.dumps([[x / edge for x in site] for site in SITES]))
    task = job(folder, **{"batch": 8, "beads": 1, "plumed": None}, **changes)
    for walker in task["walkers"]:
        cell = [[edge if i == j else 0.0 for j in range(3)] for i in range(3)]
        walker["start"] = {**walker["start"], "cell": cell, "pbc": [True] * 3}
    return {**task, "model": {"family": str(HARMONIC), "members": [str(folder)]}}


@pytest.mark.parametrize("name", ["ase", "torchsim"])
def test_energies_are_canonical_at_each_temperature(tmp_path: Path, name: str) -> None:
    """Gamma distributions; and as many exchanges take place as theory says."""
    if name == "torchsim":
        pytest.importorskip("torch_sim", reason="torch-sim is not installed")
    task = {"ase": job, "torchsim": batched}[name](tmp_path, steps=7000, block=3500)
    finish(task, importlib.import_module(f"psiflow_cli.samplers.{name}"))
    found = [read(tmp_path / checkpoint.trajectory_name(n), ":", format="extxyz") for n in range(len(LADDER))]
    targets = np.array([[frame.info["target_temperature"] for frame in frames] for frames in found])
    energies = np.array([[frame.info["model_energy"] for frame in frames] for frames in found])
    kinetic = np.array([[frame.info["kinetic_energy"] for frame in frames] for frames in found])
    shape = 1.5 * ATOMS
    assert (np.sort(targets, axis=0) == np.array(LADDER)[:, None]).all()
    for kelvin in LADDER:
        for energy in (energies, kinetic):
            at = energy[targets == kelvin][::2] / (units.kB * kelvin)
            assert stats.kstest(at, stats.gamma(shape).cdf).pvalue > 1e-3
    for index, (cold, hot) in enumerate(PAIRS):
        where = np.argmax(targets == cold, axis=0)  # which walker has it, at each recorded step, before its exchange
        there = np.argmax(targets == hot, axis=0)
        swapped = (where[:-1] == there[1:]) & (there[:-1] == where[1:])
        turn = (np.arange(len(where) - 1) + 1) % 2 == index  # the pairs take turns
        assert not swapped[~turn].any()
        wanted = 2.0 * special.betainc(shape, shape, cold / (cold + hot))
        assert abs(swapped[turn].mean() - wanted) < 4.5 * (wanted * (1 - wanted) / turn.sum()) ** 0.5


@pytest.mark.parametrize("thermostat", ["langevin", "csvr", "nose-hoover"])
def test_blocks_of_any_length_exchange_the_same(tmp_path: Path, thermostat: str) -> None:
    """Also where a block ends at an exchange, or between two: the energies are those of the present positions."""
    whole = finish(job(tmp_path / "whole", thermostat=thermostat))
    assert len({word for text in whole for word in text.split() if word.startswith(b"target_temperature")}) == 3
    for block in (1, 7, 10, 25):
        task = job(tmp_path / str(block), thermostat=thermostat, block=block)
        assert finish(task) == whole
        assert Path(task["folder"], "state.json").read_bytes() == (tmp_path / "whole/state.json").read_bytes()


@pytest.mark.parametrize("thermostat", [pytest.param("langevin", marks=pytest.mark.full), "nose-hoover"])
def test_temperatures_and_pressures_are_exchanged_the_same_in_blocks_of_any_length(
    tmp_path: Path, thermostat: str
) -> None:
    """Of cells that move: momenta of cells and chains go with the temperature."""

    def ladder(folder: str, block: int) -> dict[str, Any]:
        task = job(
            tmp_path / folder, thermostat=thermostat, ensemble="npt", block=block, barostat_time=50.0, exchange=5
        )
        task["model"] = {"family": test_ase.__file__, "members": ["emt"]}
        start = {**task["walkers"][0]["start"], "symbols": ["Al"] * 4, "pbc": [True] * 3}
        fcc = [[0.0, 0.0, 0.0], [0.0, 2.03, 2.03], [2.03, 0.0, 2.03], [2.03, 2.03, 0.0]]
        start |= {"positions": fcc, "cell": (4.06 * np.eye(3)).tolist()}
        both = [(kelvin, bar) for bar in (1.0, 20000.0) for kelvin in (300.0, 330.0)]
        task["walkers"] = [
            {"walker": n, "start": start, "temperature": [kelvin] * 2, "pressure": bar}
            for n, (kelvin, bar) in enumerate(both)
        ]
        return task

    whole = finish(ladder("whole", 60))
    assert len({word for text in whole for word in text.split() if word.startswith(b"target_")}) == 4
    assert finish(ladder("parts", 7)) == whole


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ["ase", "torchsim"])
def test_an_ideal_gas_has_its_volumes_and_exchanges_as_theory_says(tmp_path: Path, name: str) -> None:
    """Temperatures and pressures: volumes are gamma-distributed with a scale of kT/P, whatever was exchanged."""
    if name == "torchsim":
        pytest.importorskip("torch_sim", reason="torch-sim is not installed")
    task, engine, count = job(tmp_path), importlib.import_module(f"psiflow_cli.samplers.{name}"), 8
    start = {**task["walkers"][0]["start"], "symbols": ["He"] * count, "pbc": [True] * 3}
    start |= {"positions": [[n % 7.0, 0.0, 0.0] for n in range(count)], "cell": (7.0 * np.eye(3)).tolist()}
    both = [(kelvin, bar) for bar in (1000.0, 1500.0, 2200.0) for kelvin in (300.0, 420.0)]
    task["walkers"] = [
        {"walker": n, "start": start, "temperature": [kelvin] * 2, "pressure": bar}
        for n, (kelvin, bar) in enumerate(both)
    ]
    task |= {"model": {"family": ase_systems.__file__, "members": ["gas"]}, "ensemble": "npt", "barostat_time": 150.0}
    task |= {"steps": 40_000, "block": 20_000, "every": 100, "exchange": 100, "batch": 8, "beads": 1, "plumed": None}
    while any(
        each["step"] < task["steps"] for each in engine.advance(task, {"device": "cpu", "threads": 1})["walkers"]
    ):
        pass
    frames = [f for n in range(6) for f in read(tmp_path / checkpoint.trajectory_name(n), ":", format="extxyz")]
    told = np.array([[f.info[key] for key in ("target_temperature", "target_pressure", "volume")] for f in frames])
    for kelvin, bar in both:
        volumes = told[(told[:, 0] == kelvin) & (told[:, 1] == bar), 2][10::4]
        assert len(volumes) > 60
        scale = units.kB * kelvin / (bar * units.bar)
        assert stats.kstest(volumes, stats.gamma(count + 1, scale=scale).cdf).pvalue > 1e-3, (kelvin, bar)
    last = checkpoint.read(tmp_path)
    assert last is not None
    counts: dict[str, Any] = {}
    for state in last.walkers:
        for pair, trials in state.more.get("trials", {}).items():
            counts[pair] = counts.get(pair, 0) + np.array(trials)
    assert len(counts) == 3
    for pair, (tried, accepted) in sorted(counts.items()):
        axis, low, high = pair.split()
        share = float(low) / (float(low) + float(high))
        wanted = 2.0 * special.betainc(count + 1, count + 1, share)
        print(f"{axis} {low} {high}: {accepted / tried:.4f} of {tried}, theory {wanted:.4f}")
        assert abs(accepted / tried - wanted) < 4.5 * (wanted * (1 - wanted) / tried) ** 0.5


def test_the_others_go_on_exchanging_when_one_is_stopped(tmp_path: Path) -> None:
    """However the run is cut; what is recorded of the one that stopped ends there."""
    limits = {"temperature": 1100.0}
    whole = finish(job(tmp_path / "whole", limits=limits, steps=600, block=600))
    last = checkpoint.read(tmp_path / "whole")
    assert last is not None
    ends = [state.stopped for state in last.walkers]
    assert 1 <= sum(end is not None for end in ends) < 3
    assert finish(job(tmp_path / "parts", limits=limits, steps=600, block=33)) == whole


def test_a_thermostat_that_scales_starts_with_the_energy_of_its_own_walker(tmp_path: Path) -> None:
    """They share a calculator, which holds the results of the walker before."""
    task = job(tmp_path, thermostat="csvr", limits={"force": 1.0}, steps=10)
    task["walkers"][0]["start"] = {
        **task["walkers"][0]["start"],
        "positions": [[x + 2.0, 0.0, 0.0] for x, _, _ in SITES],
    }
    said = engine.advance(task, {})["walkers"]
    assert said[0]["stopped"]["step"] == 0
    assert said[1]["stopped"] is None or said[1]["stopped"]["step"] > 0
