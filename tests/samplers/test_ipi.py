"""Path integrals with i-PI: quantum statistics against theory, moving cells, guards, and exact checkpoints."""

from __future__ import annotations

import json
import math
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy")
ase = pytest.importorskip("ase")
pytest.importorskip("ipi")

from ase import units  # noqa: E402
from ase.calculators.calculator import Calculator, all_changes  # noqa: E402
from ase.io import read  # noqa: E402

from psiflow_cli.samplers import ase as classical  # noqa: E402
from psiflow_cli.samplers import ipi as engine  # noqa: E402
from psiflow_cli.worker import guard  # noqa: E402
from psiflow_cli.worker.walker import trajectory  # noqa: E402

Wire = dict[str, Any]
CONTEXT: Wire = {"scratch": "", "device": "cpu", "dtype": None}
FREE = {"force": None, "temperature": None, "distance": None, "spread": None}


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
            return said, (Path(wanted["folder"]) / trajectory(2)).read_bytes()[: said["bytes"]]


def frames(wanted: Wire, module: Any = engine) -> list[Any]:
    said, _ = run(wanted, module)
    assert said["stopped"] is None
    return list(read(Path(wanted["folder"]) / trajectory(2), ":", format="extxyz"))


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


HBAR = units._hbar * units.J * units.second


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


def test_a_kill_leaves_no_trace(tmp_path: Path) -> None:
    atoms = gas(3)
    _, whole = run(job(tmp_path / "whole", atoms, springs(2.0, atoms)))
    killed = job(tmp_path / "killed", atoms, springs(2.0, atoms), block=20)
    engine.advance(killed, CONTEXT)
    with (tmp_path / "killed" / trajectory(2)).open("ab") as file:
        file.write(whole[:300])  # a bead of the next step, not counted
    shutil.copytree(tmp_path / "killed", tmp_path / "again")
    assert run(killed)[1] == whole
    assert run({**killed, "folder": str(tmp_path / "again"), "block": 1})[1] == whole


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


@pytest.mark.parametrize("thermostat", ["langevin", "csvr"])
def test_harmonic_oscillators_have_the_energies_of_theory(tmp_path: Path, thermostat: str) -> None:
    """Deep in the quantum regime, and for so many beads exactly: potential, kinetic energy, temperature."""
    atoms, beads, temperature, spring = gas(40), 6, 150.0, 2.0
    wanted = job(tmp_path, atoms, springs(spring, atoms), beads=beads, temperature=temperature, thermostat=thermostat)
    found = frames({**wanted, "steps": 2000, "every": 4, "block": 2000, "timestep": 0.75})
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
    found = frames(job(tmp_path, atoms, springs(2.0, atoms), steps=1500, block=1500, start={"fixed": [0, 2]}))
    assert all(abs(a.positions - atoms.positions)[[0, 2]].max() < 1e-12 for a in found)
    assert np.std([a.positions[1] for a in found], axis=0).min() > 0.05
    hot, error = mean([a.info["temperature"] for a in found[::4]])
    assert abs(hot - 300.0) < 4 * error < 100.0


@pytest.mark.parametrize("cell", ["isotropic", "flexible"])
def test_pressure_moves_the_cell_the_right_way(tmp_path: Path, cell: str) -> None:
    """Against the volume where the model's stress balances the pressure and the kinetic energy."""
    atoms = gas(2, "Ar", cube=4.0)
    volumes = {}
    for bar in (-30000.0, 60000.0):
        same = {"ensemble": "npt", "cell": cell, "pressure": bar}
        wanted = job(tmp_path / str(bar), atoms, springs(1.0, atoms, cube=4.0, stiffness=10.0), beads=2, **same)
        found = frames({**wanted, "steps": 900, "block": 900})
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
    from psiflow_cli.samplers.ipi import barostats
    from psiflow_cli.samplers.ipi.field import Field
    from psiflow_cli.samplers.ipi.rings import Rings

    atoms = gas(3, "Ar", cube=4.0)
    model = Springs(0.5, atoms.get_scaled_positions(), cube=4.0, stiffness=5.0)
    atoms.rotate(35, (1, 2, 3), rotate_cell=True)
    first = atoms.cell.array.T.copy()
    drifts = []
    for timestep in (2.0, 1.0):
        wanted = job(Path(), atoms, beads=1, ensemble=ensemble, cell="flexible", timestep=timestep, friction=1e-12)
        rings = Rings(wanted, Field(atoms.copy(), model, True), 300.0, np.random.default_rng(3), ())
        rings.field.bind(rings.forces.mforces[0])
        rings.begin()
        cell = rings.barostat
        cell.thermostat.tau = 1e30
        barostats.settle(cell)
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
    recorded = list(read(tmp_path / trajectory(2), ":", format="extxyz")) if data else []
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
    with pytest.raises(guard.Fatal, match="no stress"):
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
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "state.json", trajectory(2)]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"beads": 1}, "--beads"),
        ({"ensemble": "nve"}, "thermostat"),
        ({"thermostat": "nose-hoover"}, "thermostats"),
        ({"exchange": 10}, "exchanges"),
        ({"ramp_steps": 100}, "ramps"),
        ({"ensemble": "nst"}, "ensembles"),
    ],
)
def test_what_it_refuses(changes: Wire, reason: str) -> None:
    settings = {"beads": 8, "plumed": None, "ensemble": "nvt", "thermostat": "langevin", "exchange": None}
    assert engine.refuses(settings) == ""
    assert reason in engine.refuses({**settings, **changes})
