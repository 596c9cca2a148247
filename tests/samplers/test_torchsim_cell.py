"""The batched engine's moving cells and Nosé-Hoover chains: walker by walker the paths of the ASE engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy")
torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("ase.md.langevinbaoab", reason="needs ASE 3.27 or later")

from ase import Atoms  # noqa: E402
from ase.io import read  # noqa: E402
from scipy import stats  # noqa: E402

from psiflow_cli.samplers import ase as ase_engine  # noqa: E402
from psiflow_cli.samplers import torchsim  # noqa: E402
from tests.samplers import ase_systems, batch_systems  # noqa: E402
from tests.samplers.ase_systems import solid  # noqa: E402

CONTEXT: dict[str, Any] = {"scratch": "", "device": "cpu", "dtype": None, "threads": 1}
KINDS = [
    {"thermostat": "nose-hoover", "ensemble": "nvt"},
    *(
        {"thermostat": thermostat, "ensemble": ensemble, "cell": cell}
        for thermostat in ("langevin", "nose-hoover")
        for ensemble, cell in (("npt", "isotropic"), ("npt", "flexible"), ("nvst", "flexible"))
    ),
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(kind.values()))
def test_a_walker_moves_as_in_the_ase_engine(kind: dict[str, Any]) -> None:
    """Positions, momenta and cells, with the same noise."""
    atoms = solid()
    atoms.rattle(0.05, seed=3)
    together = batch_systems.Together(atoms, walkers=2, seed=0, **kind)
    together.move(60)
    alone = ase_systems.seen(atoms, 60, skip=60, **kind)
    assert together.state.positions[:32].numpy() == pytest.approx(atoms.positions, abs=1e-11)
    assert together.state.momenta[:32].numpy() == pytest.approx(atoms.get_momenta(), abs=1e-11)
    assert together.state.cells[0].numpy() == pytest.approx(atoms.cell.array, abs=1e-11)
    assert np.abs(together.state.positions[32:].numpy() - atoms.positions).max() > 1e-3
    assert alone.dof == together.dof


@pytest.mark.parametrize("thermostat", ["langevin", "csvr", "nose-hoover"])
def test_a_batch_is_canonical(thermostat: str) -> None:
    """As `test_ase_thermostats.test_a_solid_is_canonical`."""
    changes: dict[str, Any] = {"ensemble": "nvt", "thermostat": thermostat, "friction": 50.0, "thermostat_time": 20.0}
    found = batch_systems.seen(solid(), 6000, **changes)
    kt = ase_systems.KT
    assert stats.kstest(found.kinetic[::8] / kt, stats.gamma(0.5 * found.dof).cdf).pvalue > 1e-3
    assert ase_systems.agrees(found.kinetic / kt, 0.5 * found.dof)
    assert ase_systems.agrees(found.pull / kt, 93.0)


def test_the_energies_of_a_batch_do_not_drift() -> None:
    """As `test_ase_thermostats.test_energy_does_not_drift`, of each walker."""
    together = batch_systems.Together(solid(), walkers=4, ensemble="nve")
    energies = []
    for _ in range(3000):
        together.move(1)
        state = together.state
        energies.append((state.energy + state.kinetic(state.momenta)).numpy())
    whole = 0.5 * together.dof * ase_systems.KT
    assert (np.ptp(energies, axis=0) < 0.02 * whole).all()
    slopes = np.abs(np.polyfit(np.arange(3000), np.array(energies), 1)[0])
    assert (slopes * 3000 < 0.2 * np.std(energies, axis=0)).all()


def job(folder: Path, walkers: int, member: str, atoms: Any, **changes: Any) -> dict[str, Any]:
    start = {
        **{"id": "0" * 16, "symbols": atoms.get_chemical_symbols(), "positions": atoms.positions.tolist()},
        **{"cell": atoms.cell.tolist(), "pbc": [True] * 3},
    }
    return {
        **ase_systems.JOB,
        **{"folder": str(folder), "model": {"family": ase_systems.__file__, "members": [member]}},
        "walkers": [{"walker": i, "start": start, "temperature": [100.0, 400.0]} for i in range(walkers)],
        **{"steps": 60, "every": 5, "block": 60, "batch": 8, "seed": 7, "ramp_steps": None, "exchange": None},
        **{"beads": 1, "plumed": None, "limits": {}},
        **changes,
    }


def finish(engine: Any, task: dict[str, Any]) -> list[dict[str, Any]]:
    while True:
        said: list[dict[str, Any]] = engine.advance(task, CONTEXT)["walkers"]
        if all(each["stopped"] or each["step"] >= task["steps"] for each in said):
            return said


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(kind.values()))
def test_blocks_of_a_ramp_leave_no_trace(tmp_path: Path, kind: dict[str, Any]) -> None:
    """The trajectories and the last checkpoint, to the byte; and they are those of the ASE engine, to rounding."""
    pytest.importorskip("torch_sim", reason="torch-sim is not installed")
    model = ase_systems.member(solid())
    for engine, block in ((torchsim, 60), (torchsim, 7), (ase_engine, 60)):
        name = f"{engine.__name__}-{block}"
        finish(engine, job(tmp_path / name, 2, model, solid(), block=block, ramp_steps=50, **kind))
    whole, cut, alone = (tmp_path / f"psiflow_cli.samplers.{name}" for name in ("torchsim-60", "torchsim-7", "ase-60"))
    assert (whole / "state.json").read_bytes() == (cut / "state.json").read_bytes()
    for name in ("trajectory-00000.xyz", "trajectory-00001.xyz"):
        assert (whole / name).read_bytes() == (cut / name).read_bytes()
        for a, b in zip(read(whole / name, ":"), read(alone / name, ":"), strict=True):
            assert a.info == pytest.approx(b.info, rel=1e-8, abs=1e-10)
            assert a.positions == pytest.approx(b.positions, abs=1e-10)
            assert a.cell.array == pytest.approx(b.cell.array, abs=1e-10)


@pytest.mark.parametrize("interval", [1, 10])
@pytest.mark.parametrize("thermostat", ["langevin", "nose-hoover"])
def test_a_cell_is_lost_at_the_step_where_ase_loses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, thermostat: str, interval: int
) -> None:
    """Also where the host looks at the device every tenth step only; the other walkers go on."""
    pytest.importorskip("torch_sim", reason="torch-sim is not installed")
    from psiflow_cli.samplers.torchsim import motion

    monkeypatch.setitem(motion.INTERVAL, "cpu", interval)
    gas = Atoms("He8", np.random.default_rng(1).random((8, 3)) * 8.0, cell=[8.0] * 3, pbc=True)
    changes = {"thermostat": thermostat, "cell": "flexible", "pressure": -200.0, "barostat_time": 200.0, "every": 50}
    said = [
        finish(engine, job(tmp_path / engine.__name__, 4, "gas", gas, steps=100, block=100, **changes))
        for engine in (torchsim, ase_engine)
    ]
    assert said[0] == [{**each, "bytes": ours["bytes"]} for each, ours in zip(said[1], said[0], strict=True)]
    assert len({each["step"] for each in said[0]}) > 1
    assert all(each["stopped"]["kind"] == "cell" for each in said[0])
