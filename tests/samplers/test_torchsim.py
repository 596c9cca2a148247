"""Many walkers at once: their paths are those of the ASE engine, alone or together, to rounding."""

from __future__ import annotations

import hashlib
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("ase.md.langevinbaoab", reason="needs ASE 3.27 or later")
pytest.importorskip("mace", reason="mace-torch is not installed")

from ase import Atoms  # noqa: E402
from ase.io import read  # noqa: E402

from psiflow_cli.samplers import ase as alone  # noqa: E402
from psiflow_cli.samplers import torchsim  # noqa: E402
from psiflow_cli.samplers.torchsim import forces  # noqa: E402
from psiflow_cli.worker.failures import Fatal  # noqa: E402
from tests.samplers.mace_model import untrained  # noqa: E402

CONTEXT: dict[str, Any] = {"scratch": "", "device": "cpu", "dtype": None, "threads": 1}
pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(find_spec("torch_sim") is None, reason="torch-sim is not installed"),
]


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two untrained MACE models for H and O."""
    folder = tmp_path_factory.mktemp("members")
    for seed in range(2):
        (folder / f"member-{seed}").mkdir()
        untrained(folder / f"member-{seed}" / "tiny.model", seed=seed)
    return [str(folder / f"member-{seed}") for seed in range(2)]


def molecule() -> Atoms:
    return Atoms("OH2", [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])


def crystal() -> Atoms:
    """Skewed, small, and far outside of its cell."""
    found = molecule()
    found.set_cell([[4.1, 0.0, 0.0], [0.5, 4.2, 0.0], [0.0, 0.0, 4.3]])
    found.pbc = True
    found.positions += [9.0, -5.0, 13.0]
    return found


def wire(atoms: Atoms, **more: Any) -> dict[str, Any]:
    return {
        "id": "0" * 16,
        "symbols": atoms.get_chemical_symbols(),
        "positions": atoms.positions.tolist(),
        "cell": atoms.cell.tolist() if atoms.cell.rank else None,
        "pbc": atoms.pbc.tolist(),
        **more,
    }


def job(folder: Path, starts: list[dict[str, Any]], members: list[str], **changes: Any) -> dict[str, Any]:
    shutil.rmtree(folder, ignore_errors=True)
    return {
        "folder": str(folder),
        "walkers": [{"walker": i, "start": start, "temperature": [300.0] * 2} for i, start in enumerate(starts)],
        "model": {"family": "psiflow_cli.models.mace", "members": members},
        **{"ensemble": "nvt", "thermostat": "langevin", "timestep": 0.5, "friction": 10.0, "thermostat_time": 50.0},
        **{"steps": 20, "every": 5, "block": 20, "batch": 64, "seed": 3},
        **{"chain_length": 3, "barostat_time": 200.0, "pressure": 1000.0, "cell": "isotropic"},
        **{"ramp_steps": None, "exchange": None, "beads": 1, "plumed": None},
        "limits": {"force": None, "temperature": None, "distance": None, "spread": None},
        **changes,
    }


def moved(engine: Any, task: dict[str, Any]) -> list[list[Any]]:
    """The frames of each walker at the end of the job."""
    while any(w["step"] < task["steps"] and not w["stopped"] for w in engine.advance(task, CONTEXT)["walkers"]):
        pass
    found = []
    for each in task["walkers"]:
        path = Path(task["folder"]) / f"trajectory-{each['walker']:05d}.xyz"
        found.append(read(path, ":", format="extxyz") if path.stat().st_size else [])
    return found


def same(one: list[Any], two: list[Any], within: float = 1e-11) -> None:
    assert len(one) == len(two) > 0
    for a, b in zip(one, two, strict=True):
        assert set(a.info) == set(b.info)
        assert set(a.arrays) == set(b.arrays)
        assert np.abs(a.positions - b.positions).max() < within
        for key in a.info:
            assert a.info[key] == pytest.approx(b.info[key], rel=1e-7, abs=1e-9), key


def periodic_along(*axes: int, empty: bool = False) -> Atoms:
    """The crystal as a slab or a wire; `empty` has no cell vector across it."""
    found = crystal()
    found.pbc = [axis in axes for axis in range(3)]
    if empty:
        found.cell.array[~found.pbc] = 0.0
    return found


KINDS: dict[str, dict[str, Any]] = {
    **{"nve": {"ensemble": "nve"}, "langevin": {"thermostat": "langevin"}, "csvr": {"thermostat": "csvr"}},
    "chains": {"thermostat": "nose-hoover"},
}
MOVING = {"npt": {"ensemble": "npt", "cell": "flexible"}, "nvst": {"ensemble": "nvst", "thermostat": "nose-hoover"}}
STARTS = {
    **{"molecule": molecule(), "crystal": crystal()},
    **{"slab": periodic_along(0, 1), "wire": periodic_along(2, empty=True)},
}
USUAL = ("molecule-langevin", "crystal-csvr", "wire-nve", "slab-chains", "crystal-npt")


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        pytest.param(start, kind, id=name, marks=() if name in USUAL else pytest.mark.full)
        for of_start, start in STARTS.items()
        for of_kind, kind in (KINDS | MOVING if of_start == "crystal" else KINDS).items()
        for name in (f"{of_start}-{of_kind}",)
    ],
)
def test_walkers_move_as_they_would_alone_in_ase(tmp_path: Path, members: list[str], kind: Any, start: Atoms) -> None:
    """With own masses, an atom held fixed, and a ramp; in batches of two and all at once."""
    fixed = [] if kind in MOVING.values() else [0]
    starts = [wire(start), wire(start, masses={"H": 2.014}), wire(start, fixed=fixed)]
    ramp = {} if kind.get("ensemble") == "nve" else {"ramp_steps": 20}
    tasks = {}
    for name, batch in (("all", 64), ("two", 2), ("ase", 1)):
        tasks[name] = job(tmp_path / name, starts, members[:1], batch=batch, **kind, **ramp)
        for each in tasks[name]["walkers"]:
            each["temperature"] = [300.0, 500.0 if ramp else 300.0]
    together, two, by_ase = moved(torchsim, tasks["all"]), moved(torchsim, tasks["two"]), moved(alone, tasks["ase"])
    for number in range(3):
        same(together[number], by_ase[number])
        same(together[number], two[number])
    assert all((frame.positions[each] == start.positions[each]).all() for frame in together[2] for each in fixed)
    assert np.abs(together[0][-1].positions - together[1][-1].positions).max() > 1e-3


@pytest.mark.parametrize("kind", ["npt", "chains"])
def test_walkers_of_other_sizes_move_as_they_would_alone_in_ase(tmp_path: Path, members: list[str], kind: str) -> None:
    larger = crystal() * (2, 1, 1)
    tasks = {
        name: job(tmp_path / name, [wire(crystal()), wire(larger)], members[:1], steps=10, **(KINDS | MOVING)[kind])
        for name in ("together", "ase")
    }
    together, by_ase = moved(torchsim, tasks["together"]), moved(alone, tasks["ase"])
    for number in range(2):
        same(together[number], by_ase[number])


def test_the_kernels_are_chosen_on_the_first_batch(tmp_path: Path, members: list[str]) -> None:
    """torch-sim of Python 3.11 has no compiled MACE, and a CPU has no kernels: so the model remains as it is."""
    weights = Path(members[0]) / "tiny.model"
    model = {"family": "psiflow_cli.models.mace", "members": members[:1]}
    model["weights"] = {str(weights): hashlib.sha256(weights.read_bytes()).hexdigest()}
    task = job(tmp_path / "measured", [wire(crystal())] * 3, members[:1], model=model)
    measured: Any = {**CONTEXT, "kernels": "measure"}
    choice = torchsim.advance(task, measured)["kernels"]
    assert (choice["path"], choice["atoms"]) in {("eager", 9), ("compile", 9)}
    assert {"eager", "compile"} == set(choice["ms"]) | set(choice["refused"])
    same(moved(torchsim, task)[0], moved(torchsim, {**task, "folder": str(tmp_path / "plain")})[0], within=1e-9)
    kept = list(weights.parent.glob("compiled/fast-path-*.json"))
    assert len(kept) == 1
    shutil.rmtree(weights.parent / "compiled")


def test_with_whom_a_walker_is_leaves_its_path_as_it_is(tmp_path: Path, members: list[str]) -> None:
    starts = [wire(crystal())] * 8
    eight = moved(torchsim, job(tmp_path / "eight", starts, members[:1], steps=50, block=50))
    one = moved(torchsim, job(tmp_path / "one", starts[:1], members[:1], steps=50, block=50))
    same(eight[0], one[0], within=1e-10)


def test_walkers_of_the_same_elements_are_not_taken_for_each_other(tmp_path: Path, members: list[str]) -> None:
    """Two molecules in one frame, and the same atoms as two walkers, one after the other and in turn."""
    other = molecule()
    other.positions += [3.0, 0.0, 0.0]
    pair = molecule() + other
    starts = [wire(pair), wire(molecule()), wire(molecule())]
    by_ase = moved(alone, job(tmp_path / "ase", starts, members[:1]))
    together = moved(torchsim, job(tmp_path / "one", [starts[0]], members[:1]))
    same(together[0], by_ase[0])
    others = job(tmp_path / "two", starts[1:], members[:1])
    for number, each in enumerate(others["walkers"], 1):
        each["walker"] = number
    for number, frames in enumerate(moved(torchsim, others), 1):
        same(frames, by_ase[number])
    for number, frames in enumerate(moved(torchsim, job(tmp_path / "mixed", starts, members[:1], batch=2))):
        same(frames, by_ase[number])


def test_a_committee_moves_on_its_mean_and_says_its_spread(tmp_path: Path, members: list[str]) -> None:
    starts = [wire(molecule())] * 2
    both = moved(torchsim, job(tmp_path / "a", starts, members))
    by_ase = moved(alone, job(tmp_path / "b", starts, members))
    for number in range(2):
        same(both[number], by_ase[number])
        assert both[number][-1].info["model_energy_std"] > 1e-4
        assert both[number][-1].arrays["model_forces_std"].max() > 1e-4


def test_a_model_that_reads_the_charge_gets_it(tmp_path: Path) -> None:
    """And the multiplicity."""
    (tmp_path / "reads").mkdir()
    of_graph = {"type": "continuous", "in_dim": 1, "emb_dim": 4, "per": "graph"}
    specs = {"total_charge": of_graph, "total_spin": of_graph}
    untrained(tmp_path / "reads" / "tiny.model", embedding_specs=specs)
    starts = [wire(molecule()), wire(molecule(), charge=1, multiplicity=2)]
    found = moved(torchsim, job(tmp_path / "a", starts, [str(tmp_path / "reads")], steps=10))
    by_ase = moved(alone, job(tmp_path / "b", starts, [str(tmp_path / "reads")], steps=10))
    for number in range(2):
        same(found[number], by_ase[number])
    neutral = job(tmp_path / "c", [starts[0], starts[0]], [str(tmp_path / "reads")], steps=10)
    assert abs(moved(torchsim, neutral)[1][0].info["model_energy"] - found[1][0].info["model_energy"]) > 1e-3


@pytest.mark.parametrize(("ensemble", "thermostat"), [("nvt", "langevin"), ("npt", "langevin"), ("npt", "nose-hoover")])
def test_replicas_exchange_as_in_ase(tmp_path: Path, members: list[str], ensemble: str, thermostat: str) -> None:
    found, start = {}, molecule()
    if ensemble == "npt":
        start.set_cell([6.0] * 3)
        start.pbc = True
    how = {"ensemble": ensemble, "thermostat": thermostat}
    for name, engine, block in (("a", torchsim, 20), ("b", alone, 20), ("c", torchsim, 7)):
        task = job(tmp_path / name, [wire(start)] * 4, members[:1], exchange=2, block=block, **how)
        for each, kelvin in zip(task["walkers"], (280.0, 300.0, 320.0, 340.0), strict=True):
            if ensemble == "npt":
                each["pressure"] = 1e3 * (1 + each["walker"] % 2)
                kelvin = 300.0 if each["walker"] < 2 else 320.0
            each["temperature"] = [kelvin] * 2
        found[name] = moved(engine, task)
    for number in range(4):
        same(found["a"][number], found["b"][number])
        same(found["a"][number], found["c"][number])
    targets = {frame.info["target_temperature"] for frame in found["a"][0]}
    assert len(targets) > 1, "nothing was exchanged"


def test_one_that_stops_does_not_disturb_the_others(tmp_path: Path, members: list[str]) -> None:
    crowded = molecule()
    crowded.positions[1] = [0.3, 0.0, 0.0]
    limits = {"force": None, "temperature": None, "distance": 0.5, "spread": None}
    starts = [wire(molecule()), wire(crowded), wire(molecule())]
    task = job(tmp_path / "three", starts, members[:1], limits=limits)
    found = moved(torchsim, task)
    stopped = [each["stopped"] for each in torchsim.advance(task, CONTEXT)["walkers"]]
    assert [bool(each) for each in stopped] == [False, True, False]
    assert (stopped[1]["kind"], stopped[1]["step"]) == ("distance", 0)
    assert found[1] == []
    alone_in_it = job(tmp_path / "one", starts[:1], members[:1], limits=limits)
    same(found[0], moved(torchsim, alone_in_it)[0])
    in_blocks = job(tmp_path / "blocks", starts, members[:1], limits=limits, block=7)
    moved(torchsim, in_blocks)
    for number in (0, 2):
        name = f"trajectory-{number:05d}.xyz"
        assert (tmp_path / "three" / name).read_bytes() == (tmp_path / "blocks" / name).read_bytes()


def test_short_of_memory_it_goes_on_with_fewer_at_once(
    tmp_path: Path, members: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = [wire(molecule())] * 5
    whole = moved(torchsim, job(tmp_path / "whole", starts, members[:1]))
    real = forces.Forces._predict

    def small(self: Any, *arguments: Any) -> Any:
        if self.size > 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return real(self, *arguments)

    monkeypatch.setattr(forces.Forces, "_predict", small)
    task = job(tmp_path / "small", starts, members[:1], batch=5)
    assert torchsim.advance(task, CONTEXT)["batch"] == 2
    for number in range(5):
        same(whole[number], moved(torchsim, task)[number])
    monkeypatch.setattr(forces.Forces, "_predict", lambda *_: (_ for _ in ()).throw(RuntimeError("CUDA out of memory")))
    with pytest.raises(RuntimeError, match="out of memory"):
        torchsim.advance(job(tmp_path / "none", starts, members[:1]), CONTEXT)


def test_what_torch_sim_cannot_take_is_said(tmp_path: Path, members: list[str]) -> None:
    with pytest.raises(ValueError, match="npt needs a thermostat for a changing cell"):
        torchsim.advance(
            job(tmp_path / "a", [wire(crystal())], members[:1], ensemble="npt", thermostat="csvr"), CONTEXT
        )
    own = job(tmp_path / "c", [wire(crystal())], members[:1])
    own["model"]["family"] = str(Path(__file__).with_name("test_ase.py"))
    with pytest.raises(Fatal, match="no interface to this kind of model"):
        torchsim.advance(own, CONTEXT)


@pytest.mark.filterwarnings("ignore")
def test_nve_goes_on_from_the_momenta_of_a_frame(tmp_path: Path, members: list[str]) -> None:
    """10 + 10 steps through the text of a frame are 20 steps, in this engine and in ASE's."""
    for each in (torchsim, alone):
        how: dict[str, Any] = {"ensemble": "nve", "velocities": True}
        (whole,) = moved(each, job(tmp_path / "whole", [wire(crystal())], members[:1], steps=20, block=20, **how))
        half = {**wire(crystal()), "positions": whole[0].positions.tolist(), "momenta": whole[0].get_momenta().tolist()}
        (second,) = moved(each, job(tmp_path / "second", [half], members[:1], steps=10, block=10, **how))
        assert second[0].positions.tolist() == whole[1].positions.tolist()
        assert second[0].get_momenta().tolist() == whole[1].get_momenta().tolist()
