"""The plain ASE engine: physics, guards, and trajectories that do not know how they were cut."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy")
ase = pytest.importorskip("ase")
pytest.importorskip("ase.md.langevinbaoab", reason="needs ASE 3.27 or later")

from ase import Atoms, units  # noqa: E402
from ase.build import bulk  # noqa: E402
from ase.calculators.calculator import Calculator, all_changes  # noqa: E402
from ase.calculators.emt import EMT  # noqa: E402
from ase.io import read  # noqa: E402

from psiflow_cli.samplers import ase as engine  # noqa: E402
from psiflow_cli.worker.models import calculators  # noqa: E402
from psiflow_cli.worker.pool import call  # noqa: E402

SPRING = 2.0  # eV/Å²
CONTEXT: dict[str, Any] = {"scratch": "", "device": "cpu", "dtype": None}
FREE = {"force": None, "temperature": None, "distance": None}


class Harmonic(Calculator):
    """Each atom bound to where it was at step 0 by a spring, plus a constant energy; counts its evaluations."""

    implemented_properties = ("energy", "forces")
    evaluations = 0

    def __init__(self, sites: Any, offset: float = 0.0) -> None:
        super().__init__()
        self.sites, self.offset = np.array(sites), offset

    def calculate(self, atoms: Any = None, properties: Any = (), system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        self.evaluations += 1
        away = atoms.positions - self.sites
        self.results = {"energy": self.offset + 0.5 * SPRING * float((away**2).sum()), "forces": -SPRING * away}


def calculator(member: str, context: dict[str, Any]) -> Any:
    """This file as a model family: a member is `emt`, `mace:` and a file, or `harmonic:` and JSON."""
    kind, _, text = member.partition(":")
    if kind == "emt":
        return EMT()
    if kind == "mace":
        from mace.calculators import MACECalculator

        return MACECalculator(model_paths=text, device="cpu", default_dtype=context["dtype"])
    settings = json.loads(text)
    return Harmonic(settings["sites"], settings.get("offset", 0.0))


def wire(atoms: Any) -> dict[str, Any]:
    cell = atoms.cell.tolist() if atoms.cell.rank else None
    return {
        "id": "0" * 16,
        "symbols": atoms.get_chemical_symbols(),
        "positions": atoms.positions.tolist(),
        "cell": cell,
        "pbc": atoms.pbc.tolist(),
    }


def harmonic(atoms: Any, offset: float = 0.0) -> str:
    return "harmonic:" + json.dumps({"sites": atoms.positions.tolist(), "offset": offset})


def job(
    folder: Path, atoms: Any, *members: str, walker: int = 3, temperature: float | None = 300.0, **changes: Any
) -> dict[str, Any]:
    default: dict[str, Any] = {
        "folder": str(folder),
        "walkers": [{"walker": walker, "start": wire(atoms), "temperature": [temperature or 0.0] * 2}],
        "model": {"family": __file__, "members": list(members) or [harmonic(atoms)]},
        **{"ensemble": "nvt", "thermostat": "langevin", "timestep": 1.0, "friction": 10.0},
        **{"thermostat_time": 50.0, "chain_length": 3, "barostat_time": 200.0, "pressure": 1.0, "cell": "isotropic"},
        "steps": 50,
        "every": 5,
        "block": 50,
        "seed": 7,
        "limits": FREE,
    }
    return default | changes


def advance(task: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    """One block of the only walker of a job."""
    result = engine.advance(task, context)
    (walker,) = result["walkers"]
    return {**walker, "seconds": result["seconds"]}


def finish(task: dict[str, Any]) -> dict[str, Any]:
    while True:
        result = advance(task, CONTEXT)
        if result["stopped"] or result["step"] >= task["steps"]:
            return result


def trajectory(task: dict[str, Any]) -> bytes:
    return (Path(task["folder"]) / f"trajectory-{task['walkers'][0]['walker']:05d}.xyz").read_bytes()


def water() -> Any:
    return Atoms("OH2", [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])


def copper() -> Any:
    return bulk("Cu", cubic=True)


# ---------------------------------------------------------------- how a trajectory is cut


@pytest.mark.parametrize("ensemble", ["nve", "nvt"])
@pytest.mark.parametrize("start", [water(), copper()], ids=["molecule", "crystal"])
def test_blocks_of_seven_give_the_bytes_of_one_block_of_fifty(tmp_path: Path, ensemble: str, start: Any) -> None:
    whole = job(tmp_path / "whole", start, ensemble=ensemble)
    parts = job(tmp_path / "parts", start, ensemble=ensemble, block=7)
    assert finish(whole)["frames"] == finish(parts)["frames"] == 10
    assert trajectory(whole) == trajectory(parts)
    assert (tmp_path / "whole/state.json").read_bytes() == (tmp_path / "parts/state.json").read_bytes()


def test_a_calculator_that_remembers_positions_is_repeatable_for_equal_blocks(tmp_path: Path) -> None:
    start = bulk("Cu", cubic=True) * (2, 1, 1)
    one = job(tmp_path / "one", start, "emt", block=20, steps=60, temperature=900.0)
    two = job(tmp_path / "two", start, "emt", block=20, steps=60, temperature=900.0)
    finish(one)
    while advance(two, CONTEXT)["step"] < 60:
        calculators._loaded.clear()  # as in a new process
    assert trajectory(one) == trajectory(two)


def test_each_call_goes_one_block_and_a_finished_walker_costs_nothing(tmp_path: Path) -> None:
    task = job(tmp_path, water(), block=30)
    assert advance(task, CONTEXT)["step"] == 30
    result = advance(task, CONTEXT)
    assert (result["step"], result["frames"], result["stopped"]) == (50, 10, None)
    assert result["bytes"] == len(trajectory(task))
    before = trajectory(task), (tmp_path / "state.json").stat().st_mtime_ns
    task["model"] = {"family": "/nowhere.py", "members": ["x"]}  # not even loaded
    assert advance(task, CONTEXT)["step"] == 50
    assert before == (trajectory(task), (tmp_path / "state.json").stat().st_mtime_ns)
    assert advance(job(tmp_path / "empty", water(), steps=0), CONTEXT)["step"] == 0


def test_more_steps_go_on_from_where_it_ended(tmp_path: Path) -> None:
    finish(job(tmp_path / "a", water(), steps=20))
    finish(job(tmp_path / "a", water(), steps=50))
    whole = job(tmp_path / "b", water(), steps=50)
    finish(whole)
    assert (tmp_path / "a/trajectory-00003.xyz").read_bytes() == trajectory(whole)


def test_walkers_and_seeds_differ_and_repeat(tmp_path: Path) -> None:
    texts = []
    for name, changes in {"a": {}, "b": {"walker": 4}, "c": {"seed": 8}, "d": {}}.items():
        task = job(tmp_path / name, water(), **changes)
        finish(task)
        texts.append(trajectory(task))
    assert texts[0] == texts[3]
    assert len({text.replace(b"walker=4", b"walker=3") for text in texts}) == 3


def test_other_settings_do_not_continue_a_walker(tmp_path: Path) -> None:
    advance(job(tmp_path, water(), block=10), CONTEXT)
    with pytest.raises(RuntimeError, match="other settings"):
        advance(job(tmp_path, water(), block=10, temperature=400.0), CONTEXT)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.full
def test_mace_in_float32_goes_on_bit_for_bit_in_a_new_process(tmp_path: Path) -> None:
    pytest.importorskip("mace", reason="mace-torch is not installed")
    from tests.samplers.mace_model import untrained  # not above: a process of its own loads this file as a family

    untrained(tmp_path / "tiny.model", channels=16)
    start = water()
    start.set_cell([3.1, 3.1, 3.1])
    start.pbc = True
    start *= (4, 4, 4)  # of so many forces, one or the other shows what TorchScript does to its first calls
    start.rattle(0.05, seed=0)
    changes = {"steps": 6, "every": 1, "timestep": 0.5}
    whole = job(tmp_path / "whole", start, f"mace:{tmp_path}/tiny.model", block=6, **changes)
    parts = job(tmp_path / "parts", start, f"mace:{tmp_path}/tiny.model", block=3, **changes)
    context = {**CONTEXT, "dtype": "float32"}
    # each in a process of its own, with one thread: several add up the stress in an order that differs
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    script = "import json, sys; from psiflow_cli.samplers.ase import advance; advance(*json.load(sys.stdin))"
    for one in (whole, parts, parts):
        subprocess.run([sys.executable, "-c", script], input=json.dumps([one, context]), text=True, env=env, check=True)
    assert trajectory(whole) == trajectory(parts)


# ---------------------------------------------------------------- killed


def test_killed_between_append_and_checkpoint_neither_doubles_nor_loses_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from psiflow_cli.worker.md import checkpoint

    whole = job(tmp_path / "whole", water())
    finish(whole)
    task = job(tmp_path / "killed", water(), block=10)
    advance(task, CONTEXT)
    counted = len(trajectory(task))
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            advance(task, CONTEXT)
    assert len(trajectory(task)) > counted  # frames on the disk that no checkpoint counts
    with (tmp_path / "killed/trajectory-00003.xyz").open("ab") as file:
        file.write(b"3\nhalf a fra")
    finish(task)
    assert trajectory(task) == trajectory(whole)


def test_sigkill_at_random_moments_leaves_no_trace(tmp_path: Path) -> None:
    whole = job(tmp_path / "whole", water(), steps=2400, every=3, block=2400)
    finish(whole)
    task = job(tmp_path / "killed", water(), steps=2400, every=3, block=100)
    (tmp_path / "task.json").write_text(json.dumps(task))
    script = (
        "import json, sys\n"
        "from psiflow_cli.samplers.ase import advance\n"
        "task = json.load(open(sys.argv[1]))\n"
        "while advance(task, {})['walkers'][0]['step'] < task['steps']: print('block', flush=True)\n"
    )
    command, moments, kills = [sys.executable, "-c", script, str(tmp_path / "task.json")], random.Random(1), 0
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
    assert trajectory(task) == trajectory(whole)


# ---------------------------------------------------------------- physics


def test_nve_conserves_energy_and_momentum(tmp_path: Path) -> None:
    start = bulk("Cu", cubic=True) * (2, 1, 1)
    task = job(tmp_path, start, "emt", ensemble="nve", temperature=300.0, timestep=2.0, steps=300, block=300, every=1)
    finish(task)
    frames = read(tmp_path / "trajectory-00003.xyz", ":", format="extxyz")
    dof = 3 * len(start) - 3
    total = [f.info["model_energy"] + 0.5 * dof * units.kB * f.info["temperature"] for f in frames]
    kinetic = [0.5 * dof * units.kB * f.info["temperature"] for f in frames]
    assert np.ptp(kinetic) > 0.05  # energy does go to and fro
    assert np.ptp(total) < 0.02 * np.ptp(kinetic)
    drift = np.polyfit(range(len(total)), total, 1)[0] * len(total)
    assert abs(drift) < 2e-3 * np.ptp(kinetic)
    centres = [f.get_center_of_mass() for f in frames]
    assert np.abs(centres - start.get_center_of_mass()).max() < 1e-10


def test_nve_reproduces_the_exact_motion_of_an_oscillator(tmp_path: Path) -> None:
    task = job(tmp_path, Atoms("He"), ensemble="nve", timestep=0.1, steps=200, block=200, every=1)
    finish(task)
    frames = read(tmp_path / "trajectory-00003.xyz", ":", format="extxyz")
    x = np.array([f.positions[0] for f in frames])
    t = np.array([f.info["time"] for f in frames])
    assert np.allclose(t, 0.1 * np.arange(1, 201), rtol=1e-12)
    omega = math.sqrt(SPRING / Atoms("He").get_masses()[0]) * units.fs  # in rad/fs
    sine = np.sin(omega * t)
    assert np.abs(x - sine[:, None] * (x[0] / sine[0])).max() < 1e-4 * np.abs(x).max()


def test_nvt_of_oscillators_has_the_canonical_distribution(tmp_path: Path) -> None:
    """Positions and temperature are exact at any timestep; both within four standard errors."""
    start = Atoms("He64", np.arange(192.0).reshape(64, 3))
    kelvin, timestep = 300.0, 10.0
    omega = math.sqrt(SPRING / start.get_masses()[0]) * units.fs
    task = job(tmp_path, start, timestep=timestep, friction=100.0, steps=3000, block=3000, every=10)
    finish(task)
    frames = read(tmp_path / "trajectory-00003.xyz", "30:", format="extxyz")
    away = np.array([f.positions - start.positions for f in frames])
    ratio = SPRING * away**2 / (units.kB * kelvin)
    assert abs(ratio.mean() - 1.0) < 4 * _error(ratio.mean(axis=(1, 2)))
    kurtosis = (ratio**2).mean() / ratio.mean() ** 2
    assert abs(kurtosis - 3.0) < 0.15  # a Gaussian
    temperatures = np.array([f.info["temperature"] for f in frames])
    low = 1.0 - (omega * timestep) ** 2 / 4
    assert 0.85 < low < 0.9  # what the momenta between two steps would give: far more off than the error of the mean
    assert abs(temperatures.mean() / kelvin - 1.0) < 4 * _error(temperatures) / kelvin
    spread = temperatures.std() / temperatures.mean() / math.sqrt(2 / (3 * 64))
    assert 0.8 < spread < 1.2


def _error(series: Any) -> float:
    """Standard error of the mean of a correlated series, from the spread of ten blocks."""
    blocks = [part.mean() for part in np.array_split(np.asarray(series), 10)]
    return float(np.std(blocks, ddof=1) / math.sqrt(10))


@pytest.mark.parametrize("ensemble", ["nve", "nvt"])
def test_start_is_maxwell_boltzmann_over_its_degrees_of_freedom(tmp_path: Path, ensemble: str) -> None:
    """After one tiny step of many walkers: the mean temperature, and that of a lone atom, which has 3 to itself."""
    for start in (Atoms("He"), Atoms("He2", [[0, 0, 0], [0, 0, 3]])):
        seen = []
        for number in range(60):
            task = job(
                tmp_path / f"{len(start)}-{number}", start, ensemble=ensemble, walker=number, timestep=1e-4, every=1
            )
            advance(task | {"steps": 1}, CONTEXT)
            path = Path(task["folder"]) / f"trajectory-{number:05d}.xyz"
            seen.append(read(path, format="extxyz").info["temperature"])
        dof = 3 * len(start) - (3 if ensemble == "nve" and len(start) > 1 else 0)
        error = 300.0 * math.sqrt(2 / dof / 60)
        assert abs(np.mean(seen) - 300.0) < 4 * error
        assert abs(np.std(seen) / (300.0 * math.sqrt(2 / dof)) - 1) < 0.5


def test_no_temperature_starts_at_rest(tmp_path: Path) -> None:
    task = job(tmp_path, water(), ensemble="nve", temperature=None, friction=None, every=1, steps=3)
    finish(task)
    frames = read(tmp_path / "trajectory-00003.xyz", ":", format="extxyz")
    assert all(f.info["temperature"] == 0.0 and (f.positions == water().positions).all() for f in frames)


def test_a_committee_moves_on_the_mean_of_its_members(tmp_path: Path) -> None:
    start = water()
    other, middle = start.copy(), start.copy()  # type: ignore[no-untyped-call]
    other.positions += [[0.1, 0.0, 0.0], [0.0, 0.2, 0.1], [0.0, 0.0, 0.0]]
    middle.positions = (start.positions + other.positions) / 2
    apart = SPRING * ((other.positions - start.positions) ** 2).sum() / 8
    pair = job(tmp_path / "pair", start, harmonic(start, 1.0), harmonic(other, 3.0))
    single = job(tmp_path / "single", start, harmonic(middle, 2.0 + apart))
    finish(pair)
    finish(single)
    one, two = (read(tmp_path / name / "trajectory-00003.xyz", ":", format="extxyz") for name in ("pair", "single"))
    assert np.allclose([f.positions for f in one], [f.positions for f in two], atol=1e-12)
    assert np.allclose([f.info["model_energy"] for f in one], [f.info["model_energy"] for f in two], atol=1e-12)
    assert all("model_energy_std" not in f.info and "model_forces_std" not in f.arrays for f in two)
    for frame in one:
        members = [Harmonic(start.positions, 1.0), Harmonic(other.positions, 3.0)]
        energies = [member.get_potential_energy(frame) for member in members]
        forces = [member.get_forces(frame) for member in members]
        assert frame.info["model_energy_std"] == pytest.approx(abs(energies[0] - energies[1]) / 2, abs=1e-12)
        of_atoms = np.sqrt((((forces[0] - forces[1]) / 2) ** 2).sum(axis=1))
        assert frame.arrays["model_forces_std"] == pytest.approx(of_atoms, abs=1e-12)
        assert of_atoms.max() > 0.1


# ---------------------------------------------------------------- what is recorded


def test_frames_hold_what_they_should_and_the_energy_of_their_positions(tmp_path: Path) -> None:
    start = copper()
    start.pbc = [True, True, False]
    task = job(tmp_path, start, "emt", block=13)
    finish(task)
    comment = trajectory(task).decode().splitlines()[1]
    keys = [word.partition("=")[0] for word in comment.split() if "=" in word]
    assert keys == [
        "Lattice",
        "Properties",
        "walker",
        "step",
        "time",
        "temperature",
        "model_energy",
        "kinetic_energy",
        "pbc",
    ]
    frames = read(tmp_path / "trajectory-00003.xyz", ":", format="extxyz")
    assert [f.info["step"] for f in frames] == list(range(5, 51, 5))
    for frame in frames:
        assert set(frame.arrays) == {"numbers", "positions"}
        assert frame.info["walker"] == 3
        assert frame.pbc.tolist() == [True, True, False]
        assert (frame.cell.array == start.cell.array).all()
        frame.calc = EMT()
        assert frame.get_potential_energy() == pytest.approx(frame.info["model_energy"], abs=1e-10)


def test_one_evaluation_a_step_and_one_more_at_each_start(tmp_path: Path) -> None:
    task = job(tmp_path, water(), block=25, every=1)
    finish(task)
    (members,) = calculators._loaded.values()
    assert [member.evaluations for member in members] == [52]


# ---------------------------------------------------------------- stopped


def test_an_exploding_walker_stops_once_and_for_all(tmp_path: Path) -> None:
    task = job(tmp_path, copper() * (2, 1, 1), "emt", ensemble="nve", temperature=3000.0, timestep=60.0, every=1)
    task |= {"limits": {"force": 20.0, "temperature": None, "distance": None}, "steps": 200, "block": 9}
    result = finish(task)
    stopped = result["stopped"]
    assert stopped["kind"] == "force"
    assert stopped["reason"].startswith("force ")
    assert stopped["reason"].endswith(" eV/Å > 20 eV/Å")
    assert stopped["step"] == result["step"]
    steps = [f.info["step"] for f in read(tmp_path / "trajectory-00003.xyz", ":", format="extxyz")]
    assert steps == list(range(1, stopped["step"]))
    before = trajectory(task)
    again = advance(task, CONTEXT)
    assert {**again, "seconds": 0} == {**result, "seconds": 0}
    assert trajectory(task) == before


def test_a_hot_walker_stops(tmp_path: Path) -> None:
    task = job(tmp_path, water(), temperature=300.0, limits={"force": None, "temperature": 1.0, "distance": None})
    result = finish(task)
    assert result["stopped"]["kind"] == "temperature"
    assert result["stopped"]["step"] == 0
    assert result["stopped"]["reason"].endswith(" K > 1 K")
    assert (result["frames"], trajectory(task)) == (0, b"")


@pytest.mark.parametrize("periodic", [False, True])
def test_atoms_too_near_stop_the_walker_and_their_frame_is_not_kept(tmp_path: Path, periodic: bool) -> None:
    start = Atoms("He2", [[0.1, 0, 0], [7.8 if periodic else 2.4, 0, 0]], cell=[10, 10, 10], pbc=periodic)
    sites = Atoms("He2", [[0.1, 0, 0], [9.9 if periodic else 0.3, 0, 0]])
    task = job(tmp_path, start, harmonic(sites), ensemble="nve", temperature=None, every=1, steps=100)
    task["limits"] = {"force": None, "temperature": None, "distance": 1.5}
    result = finish(task)
    assert result["stopped"]["kind"] == "distance"
    assert result["stopped"]["reason"].endswith(" Å < 1.5 Å")
    frames = read(tmp_path / "trajectory-00003.xyz", ":", format="extxyz")
    assert len(frames) == result["stopped"]["step"] - 1 > 0
    assert min(f.get_distance(0, 1, mic=True) for f in frames) >= 1.5


def test_blocks_do_not_decide_whether_a_walker_stops(tmp_path: Path) -> None:
    """The atoms meet and part between two recorded steps, and later meet at one."""
    start = Atoms("He2", [[0.1, 0, 0], [2.4, 0, 0]])
    results = []
    for block in (1, 3, 400):
        sites = Atoms("He2", [[0.1, 0, 0], [0.3, 0, 0]])
        task = job(tmp_path / str(block), start, harmonic(sites), ensemble="nve", temperature=None, every=30)
        task |= {"steps": 400, "block": block, "limits": FREE | {"distance": 1.5}}
        results.append((finish(task) | {"seconds": 0}, trajectory(task)))
    assert results[0] == results[1] == results[2]
    assert results[0][0]["stopped"]["step"] % 30 == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_numbers_that_are_none_stop_the_walker(tmp_path: Path, bad: float) -> None:
    start = water()
    task = job(tmp_path, start, harmonic(start, bad))
    result = finish(task)
    assert result["stopped"] == {"reason": "energy not finite", "kind": "nan", "step": 0}


def test_without_limits_an_explosion_ends_in_nan_and_not_in_an_error(tmp_path: Path) -> None:
    task = job(tmp_path, copper(), "emt", ensemble="nve", temperature=1e5, timestep=1e160, every=1)
    with np.errstate(all="ignore"):
        outcome = call.call("psiflow_cli.samplers.ase:advance", {"job": task, "context": CONTEXT})
    assert outcome["value"]["walkers"][0]["stopped"]["kind"] == "nan"
    assert advance(task, CONTEXT)["stopped"]["kind"] == "nan"


@pytest.mark.parametrize(
    "wrong", [{"ensemble": "npv"}, {"friction": 0.0}, {"temperature": None}, {"block": 0}, {"every": 0}]
)
def test_a_job_that_cannot_be_meant_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"ensemble|friction|temperature|block|every"):
        advance(job(tmp_path / "w", water(), **wrong), CONTEXT)
    assert not (tmp_path / "w").exists()
