"""i-PI's engine: paths that do not know how they were cut, what is recorded, guards, and what it refuses."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

np = pytest.importorskip("numpy")
ase = pytest.importorskip("ase")
pytest.importorskip("ipi")

from ase import units  # noqa: E402
from ase.io import read  # noqa: E402

from psiflow_cli.samplers import ase as classical  # noqa: E402
from psiflow_cli.samplers import ipi as engine  # noqa: E402
from psiflow_cli.worker import failures  # noqa: E402
from psiflow_cli.worker.md.checkpoint import trajectory_name  # noqa: E402
from tests.samplers.ipi_systems import CONTEXT, FREE, Wire, frames, gas, job, run, springs  # noqa: E402


@pytest.mark.parametrize(
    "changes",
    [
        *({}, {"thermostat": "csvr"}, {"beads": 3}, {"start": {"fixed": [1]}}),
        *({"ensemble": "npt"}, {"ensemble": "npt", "cell": "flexible"}, {"ensemble": "nvst"}),
    ],
)
def test_how_it_is_cut_leaves_no_trace(tmp_path: Path, changes: Wire) -> None:
    atoms = gas(3, cube=4.0)
    model = springs(2.0, atoms, cube=4.0, stiffness=2.0)
    said, whole = run(job(tmp_path / "whole", atoms, model, **dict(changes)))
    assert said["frames"] == 8 * changes.get("beads", 4)
    for block in (10, 5, 7):
        assert run(job(tmp_path / str(block), atoms, model, block=block, **dict(changes)))[1] == whole


@pytest.mark.full
def test_sigkill_at_random_moments_leaves_no_trace(tmp_path: Path) -> None:
    atoms, same = gas(3), {"steps": 900, "every": 3}
    _, whole = run(job(tmp_path / "whole", atoms, springs(2.0, atoms), block=900, **same))
    killed = job(tmp_path / "killed", atoms, springs(2.0, atoms), block=50, **same)
    (tmp_path / "job.json").write_text(json.dumps(killed))
    script = (
        "import json, sys\n"
        "from psiflow_cli.samplers.ipi import advance\n"
        "job = json.load(open(sys.argv[1]))\n"
        "while advance(job, {})['walkers'][0]['step'] < job['steps']: print('block', flush=True)\n"
    )
    command, moments, kills = [sys.executable, "-c", script, str(tmp_path / "job.json")], random.Random(1), 0
    for attempt in range(4):
        with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}) as process:
            assert process.stdout is not None
            if attempt < 3:
                process.stdout.readline()  # the first block is done, so every attempt gets on
                time.sleep(moments.uniform(0.0, 0.2))
                process.kill()
            process.stdout.read()
        kills += process.returncode == -signal.SIGKILL
    assert process.returncode == 0
    assert kills >= 2
    assert run(killed)[1] == whole


def test_what_is_recorded(tmp_path: Path) -> None:
    """Every bead of a step, with the model's own energy of it; the rest is the step's."""
    atoms = gas(2, cube=4.0)
    found = frames(job(tmp_path, atoms, springs(2.0, atoms, cube=4.0), beads=3, every=20))
    assert [(a.info["step"], a.info["bead"]) for a in found] == [(20, 0), (20, 1), (20, 2), (40, 0), (40, 1), (40, 2)]
    for step in (found[:3], found[3:]):
        for key in ("temperature", "kinetic_energy", "pressure", "volume", "time"):
            assert len({a.info[key] for a in step}) == 1
        away = np.array([a.positions for a in step]) - atoms.positions
        for bead, moved in zip(step, away, strict=True):
            assert bead.info["model_energy"] == pytest.approx((moved**2).sum(), abs=1e-12)
        virial = -2.0 * ((away - away.mean(axis=0)) * away).sum() / 3
        kinetic = 0.5 * 6 * units.kB * 300.0 - 0.5 * virial
        assert step[0].info["kinetic_energy"] == pytest.approx(kinetic, rel=1e-12)
        inner = 2.0 * kinetic - 2.0 * (away**2).sum() / 3
        assert step[0].info["pressure"] == pytest.approx(inner / 3 / 64.0 / units.bar, rel=1e-9)
    assert found[0].positions.tolist() != found[1].positions.tolist()


def test_its_units_are_those_of_ase(tmp_path: Path) -> None:
    """One bead in nve moves as in ASE's velocity Verlet, with the same first momenta."""
    atoms = gas(4, "O")
    same = {"ensemble": "nve", "beads": 1, "steps": 200, "every": 20, "block": 200}
    ours = frames(job(tmp_path / "ipi", atoms, springs(3.0, atoms), **same))
    theirs = frames(job(tmp_path / "ase", atoms, springs(3.0, atoms), **same), classical)
    assert len(ours) == len(theirs) == 10
    for one, other in zip(ours, theirs, strict=True):
        assert abs(one.positions - other.positions).max() < 1e-10
        assert set(one.info) == set(other.info)
        for key in ("temperature", "kinetic_energy", "model_energy"):
            assert one.info[key] == pytest.approx(other.info[key], rel=1e-8, abs=1e-10)


@pytest.mark.parametrize(
    ("kind", "limit", "changes"),
    [
        ("force", 1.0, {"temperature": 900.0}),
        ("temperature", 305.0, {}),
        ("distance", 2.99, {"every": 1}),
        ("spread", 0.4, {}),
        ("nan", 0.0, {"timestep": 1e5}),
    ],
)
def test_a_walker_is_stopped_by_any_of_its_beads(tmp_path: Path, kind: str, limit: float, changes: Wire) -> None:
    atoms = gas(2)
    members = [springs(2.0, atoms), springs(4.0, atoms)] if kind == "spread" else [springs(2.0, atoms)]
    wanted = job(tmp_path, atoms, *members, limits={**FREE, kind: limit}, steps=400, block=400, **changes)
    said, data = run(wanted)
    assert said["stopped"]["kind"] == kind
    assert said["stopped"]["step"] == said["step"] < 400
    recorded = list(read(tmp_path / trajectory_name(2), ":", format="extxyz")) if data else []
    assert len(recorded) == said["frames"]
    assert said["frames"] % 4 == 0
    assert all(a.info["step"] < said["step"] for a in recorded)
    assert run(wanted)[0] == said  # it does not move again


def test_a_committee_moves_by_its_mean(tmp_path: Path) -> None:
    atoms = gas(2)
    members = [springs(1.5, atoms), springs(2.5, atoms)]
    found = frames(job(tmp_path / "both", atoms, *members))
    alone = frames(job(tmp_path / "mean", atoms, springs(2.0, atoms)))
    for one, other in zip(found, alone, strict=True):
        assert abs(one.positions - other.positions).max() < 1e-8
        away = np.linalg.norm(one.positions - atoms.positions, axis=1)
        assert one.arrays["model_forces_std"] == pytest.approx(0.5 * away)
        assert one.info["model_energy_std"] == pytest.approx(0.25 * (away**2).sum())


def test_a_model_without_a_stress_moves_no_cell(tmp_path: Path) -> None:
    atoms = gas(2, cube=4.0)
    with pytest.raises(failures.Fatal, match="no stress"):
        engine.advance(job(tmp_path, atoms, json.dumps({"kind": "blind"}), ensemble="npt"), CONTEXT)


def test_the_worker_is_as_it_was(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """i-PI takes no signals, starts no threads, prints nothing and leaves no files."""
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    threads, here = threading.active_count(), sorted(Path().iterdir())
    atoms = gas(2, cube=4.0)
    run(job(tmp_path, atoms, springs(2.0, atoms, cube=4.0, stiffness=2.0), ensemble="npt"))
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert threading.active_count() == threads
    assert sorted(Path().iterdir()) == here
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "state.json", trajectory_name(2)]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"beads": 1}, "--beads"),
        ({"ensemble": "nve"}, "thermostat"),
        ({"thermostat": "nose-hoover"}, "thermostats"),
        ({"exchange": 10}, "replica exchange"),
        ({"ramp_steps": 100}, "ramps"),
        ({"ensemble": "nst"}, "ensembles"),
    ],
)
def test_what_it_refuses(changes: Wire, reason: str) -> None:
    settings = {"beads": 8, "plumed": None, "ensemble": "nvt", "thermostat": "langevin", "exchange": None}
    assert engine.refuses(settings) == ""
    assert reason in engine.refuses({**settings, **changes})


def test_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipi", None)
    with pytest.raises(failures.Fatal, match="i-PI is not installed in") as caught:
        engine.advance(job(tmp_path, gas(1), springs(2.0, gas(1))), CONTEXT)
    assert "pip install 'ipi" in caught.value.hint
