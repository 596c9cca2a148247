"""What every engine for molecular dynamics keeps to. A new one gets a row in ROWS."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from psiflow_cli import registry
from psiflow_cli.protocols import Sampler
from psiflow_cli.worker.md.checkpoint import trajectory_name
from tests.contracts import checks
from tests.contracts.checks import Wire

CLASSICAL = (
    *("nve", "nvt", "nvt csvr", "nvt nose-hoover", "npt", "npt flexible", "nvst"),
    *("npt nose-hoover", "npt nose-hoover flexible", "nvst nose-hoover"),
)
ROWS: dict[str, Wire] = {
    "ase": {"ensembles": CLASSICAL},
    # with one bead; tests/samplers/test_ipi.py has more of them
    "ipi": {"ensembles": ("nve", "nvt", "nvt csvr", "npt", "npt csvr", "npt flexible", "nvst")},
    "torchsim": {"ensembles": CLASSICAL},
}
"""Ensembles are words: its name, then a thermostat or a cell other than the usual one."""
START: Wire = {
    "id": "0123456789abcdef",
    "symbols": ["O", "H", "H"],
    "positions": [[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]],
    "cell": [[9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 9.0]],
    "pbc": [True] * 3,
}
SITES = [[x / 9.0 for x in row] for row in START["positions"]]


RECORDED = {"walker", "step", "time", "temperature", "pressure", "volume", "model_energy", "kinetic_energy"}


def test_every_engine_has_a_row() -> None:
    checks.every_name_has_a_row("samplers", ROWS)


class Engine:
    """An engine with a model and a place; each call of `run` is one walker in a folder of its own."""

    def __init__(self, module: Any, folder: Path, context: Wire) -> None:
        self.module, self.folder, self.context = module, folder, context
        (folder / "member-0").mkdir()
        (folder / "member-0" / "sites.json").write_text(json.dumps(SITES))
        self.count = 0

    def job(self, walker: int = 3, temperature: float = 300.0, **changes: Any) -> Wire:
        self.count += 1
        return {
            "folder": str(self.folder / f"walker-{self.count}"),
            "walkers": [{"walker": walker, "start": START, "temperature": [temperature] * 2}],
            "model": {
                "family": str(Path(__file__).with_name("harmonic.py")),
                "members": [str(self.folder / "member-0")],
            },
            **{"ensemble": "nvt", "thermostat": "langevin", "timestep": 0.5, "friction": 20.0},
            **{
                "thermostat_time": 50.0,
                "chain_length": 3,
                "barostat_time": 500.0,
                "pressure": 1.0,
                "cell": "isotropic",
            },
            **{"steps": 40, "every": 5, "block": 40, "batch": 8, "seed": 7},
            **{"ramp_steps": None, "exchange": None, "beads": 1, "plumed": None},
            "limits": {"force": None, "temperature": None, "distance": None, "spread": None},
            **changes,
        }

    def run(self, **changes: Any) -> tuple[Wire, bytes]:
        """Move to the end; the last result and the trajectory that it counts."""
        job = self.job(**changes)
        while True:
            result = self.advance(job)
            if result["step"] >= job["steps"] or result["stopped"]:
                return result, self.trajectory(job, result)

    def advance(self, job: Wire) -> Wire:
        """One block of a job's only walker."""
        result = self.module.advance(job, self.context)
        checks.is_builtin(result)
        assert set(result) == {"walkers", "seconds"}
        (walker,) = result["walkers"]
        assert set(walker) == {"step", "frames", "bytes", "stopped"}
        return dict(walker)

    def path(self, job: Wire) -> Path:
        return Path(job["folder"], trajectory_name(job["walkers"][0]["walker"]))

    def trajectory(self, job: Wire, result: Wire) -> bytes:
        return self.path(job).read_bytes()[: result["bytes"]] if result["bytes"] else b""


@pytest.fixture(params=sorted(ROWS))
def engine(request: pytest.FixtureRequest, tmp_path: Path, context: Wire) -> Engine:
    module = registry.load("samplers", request.param)
    checks.needs(module)
    return Engine(module, tmp_path, context)


@pytest.fixture(params=[(name, ensemble) for name, row in sorted(ROWS.items()) for ensemble in row["ensembles"]])
def ensemble(request: pytest.FixtureRequest, tmp_path: Path, context: Wire) -> tuple[Engine, Wire]:
    """An engine, and what makes a job one of its ensembles."""
    name, kind = request.param
    module = registry.load("samplers", name)
    checks.needs(module)
    first, *others = kind.split()
    changes = {"cell" if word == "flexible" else "thermostat": word for word in others}
    return Engine(module, tmp_path, context), {"ensemble": first, **changes}


def frames(data: bytes, folder: Path) -> list[Any]:
    from ase.io import read

    path = folder / "read.xyz"
    path.write_bytes(data)
    return list(read(path, ":"))


def test_it_satisfies_the_protocol(engine: Engine) -> None:
    checks.satisfies(engine.module, Sampler)


def test_what_is_recorded(ensemble: tuple[Engine, Wire], tmp_path: Path) -> None:
    import numpy as np
    from ase import units

    engine, kind = ensemble
    result, data = engine.run(**kind, every=7)
    assert (result["step"], result["frames"], result["stopped"]) == (40, 5, None)
    assert result["bytes"] == len(data)
    found = frames(data, tmp_path)
    assert [atoms.info["step"] for atoms in found] == [7, 14, 21, 28, 35]
    for atoms in found:
        assert set(atoms.info) == RECORDED
        assert atoms.info["walker"] == 3
        assert atoms.info["time"] == 0.5 * atoms.info["step"]
        assert atoms.info["temperature"] > 0
        away = atoms.positions - SITES @ atoms.cell.array
        assert atoms.info["model_energy"] == pytest.approx(0.5 * 2.0 * (away**2).sum(), abs=1e-12)
        assert atoms.get_chemical_symbols() == START["symbols"]
        moved = atoms.cell.array - START["cell"]
        assert abs(moved).max() > 0 if kind["ensemble"] in ("npt", "nvst") else not moved.any()
        if kind.get("cell", "isotropic") == "isotropic" and kind["ensemble"] != "nvst":
            assert moved == pytest.approx(moved[0, 0] * np.identity(3), abs=1e-12)
        if kind["ensemble"] != "npt":
            assert atoms.info["volume"] == pytest.approx(729.0, rel=1e-12)
        virial = 2.0 * (away**2).sum()
        internal = (2.0 * atoms.info["kinetic_energy"] - virial) / 3.0 / atoms.get_volume() / units.bar
        assert atoms.info["pressure"] == pytest.approx(internal, rel=1e-9)
        assert atoms.pbc.all()


def test_how_it_is_cut_leaves_no_trace(ensemble: tuple[Engine, Wire]) -> None:
    engine, kind = ensemble
    _, whole = engine.run(**kind)
    assert engine.run(**kind, block=10)[1] == whole
    assert engine.run(**kind, block=5)[1] == whole
    _, short = engine.run(**kind, steps=20)
    assert whole.startswith(short)
    assert short.count(b"step=") == 4


def test_seed_and_walker_decide(ensemble: tuple[Engine, Wire]) -> None:
    engine, kind = ensemble
    _, first = engine.run(**kind)
    assert engine.run(**kind)[1] == first
    assert engine.run(**kind, seed=8)[1] != first
    other = engine.run(**kind, walker=4)[1].replace(b"walker=4", b"walker=3")
    assert other != first


def test_a_torn_tail_is_cut_off(engine: Engine) -> None:
    _, whole = engine.run()
    job = engine.job(block=20)
    engine.advance(job)
    with engine.path(job).open("ab") as stream:
        stream.write(b"3\ntorn by a kill")
    result = engine.advance(job)
    assert engine.trajectory(job, result) == whole
    again = engine.advance(job)  # at the end: nothing more is done
    assert (again["step"], again["bytes"]) == (result["step"], result["bytes"])


def test_energy_is_conserved_where_it_must_be(engine: Engine, tmp_path: Path) -> None:
    from ase import units

    result, data = engine.run(ensemble="nve", steps=400, every=1, block=100)
    assert result["frames"] == 400
    total = [a.info["model_energy"] + 3 * units.kB * a.info["temperature"] for a in frames(data, tmp_path)]
    assert max(total) - min(total) < 0.02 * (sum(total) / len(total))


@pytest.mark.parametrize(
    ("limits", "changes", "kinds"),
    [
        ({"force": 1.0}, {"temperature": 3000.0}, {"force"}),
        ({"temperature": 800.0}, {"temperature": 3000.0}, {"temperature"}),
        ({"distance": 0.97}, {}, {"distance"}),
        ({"temperature": 1e5}, {"timestep": 60.0, "ensemble": "nve"}, {"temperature", "force", "nan"}),
    ],
)
def test_a_walker_that_leaves_its_limits_is_stopped(
    engine: Engine, tmp_path: Path, limits: Wire, changes: Wire, kinds: set[str]
) -> None:
    """Its last step is not recorded, and it does not move again."""
    bounds = {"force": None, "temperature": None, "distance": None, **limits}
    job = engine.job(limits=bounds, every=1, **changes)
    result = engine.advance(job)
    stopped = result["stopped"]
    assert set(stopped) == {"reason", "kind", "step"}
    assert stopped["kind"] in kinds
    assert stopped["reason"]
    assert stopped["step"] == result["step"] < 40
    recorded = frames(engine.trajectory(job, result), tmp_path) if result["bytes"] else []
    assert len(recorded) == result["frames"]
    assert all(atoms.info["step"] < stopped["step"] for atoms in recorded)
    assert all(atoms.info["temperature"] < (bounds["temperature"] or 1e9) for atoms in recorded)
    again = engine.advance(job)
    assert again == result


@pytest.mark.parametrize("changes", [{"ensemble": "npv"}, {"timestep": 0.0}, {"every": 0}, {"friction": 0.0}])
def test_a_job_that_makes_no_sense(engine: Engine, changes: Wire) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        engine.module.advance(engine.job(**changes), engine.context)


def test_a_checkpoint_of_another_job_is_refused(engine: Engine) -> None:
    job = engine.job(block=10)
    engine.advance(job)
    with pytest.raises(RuntimeError, match="settings"):
        engine.module.advance({**job, "seed": 8}, engine.context)
