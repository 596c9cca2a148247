"""What every model family keeps to, from the plan of a training to predictions. A new one gets a row in ROWS."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from psiflow_cli import registry
from psiflow_cli.errors import BadData, UsageError
from psiflow_cli.protocols import Model
from psiflow_cli.worker.training import phase
from tests import warm
from tests.contracts import checks
from tests.contracts.checks import Wire


@dataclass(frozen=True)
class Row:
    """What the suite cannot know of a family."""

    config: Wire
    """The trainer's own settings of a tiny model, with three epochs."""
    epochs_key: str
    """Which of them says how many epochs."""
    options: dict[str, str] = field(default_factory=dict)


ROWS = {
    "allegro": Row(
        config={
            "r_max": 4.0, "l_max": 1, "num_layers": 1, "num_scalar_features": 8, "num_tensor_features": 4,
            "batch_size": 3, "max_epochs": 3, "model_dtype": "float64",
        },
        epochs_key="max_epochs",
    ),
    "mace": Row(
        config={
            "num_channels": 4, "r_max": 4.0, "max_ell": 1, "correlation": 1, "batch_size": 3, "valid_batch_size": 4,
            "max_num_epochs": 3, "swa": False, "default_dtype": "float64",
        },
        epochs_key="max_num_epochs",
    ),
    "nequip": Row(
        config={
            "r_max": 4.0, "l_max": 1, "num_layers": 2, "num_features": 4, "radial_mlp_width": 8,
            "batch_size": 3, "max_epochs": 3, "model_dtype": "float64",
        },
        epochs_key="max_epochs",
    ),
}  # fmt: skip


def test_every_family_has_a_row() -> None:
    checks.every_name_has_a_row("models", ROWS)


@dataclass(frozen=True)
class Fitted:
    """A trained model, and what it was trained on."""

    module: Any
    row: Row
    job: Wire
    result: Wire
    member: str
    """Its folder of weights, as in a bundle."""
    crystal: Wire
    molecule: Wire
    e0s: dict[str, float]
    summary: Wire
    context: Wire

    def predict(self, *frames: Wire) -> list[Wire]:
        (found,) = self.module.predict(list(frames), [self.member], self.context)
        assert len(found) == len(frames)
        return list(found)


def wire(atoms: Any) -> Wire:
    cell = atoms.cell.tolist() if atoms.pbc.any() else None
    return {
        "id": "0123456789abcdef",
        "symbols": list(atoms.symbols),
        "positions": atoms.positions.tolist(),
        "cell": cell,
        "pbc": atoms.pbc.tolist(),
    }


def make_data(folder: Path) -> tuple[list[Any], dict[str, float]]:
    """Rattled copper and gold by EMT: crystals, and clusters; twelve to train on and four to validate with."""
    from ase import Atoms
    from ase.build import bulk
    from ase.calculators.emt import EMT
    from ase.cluster import Icosahedron
    from ase.io import write

    frames = []
    for seed in range(16):
        atoms = Icosahedron("Cu", 2) if seed % 2 else bulk("Cu", cubic=True)
        atoms.symbols[seed % 4] = "Au"
        atoms.rattle(0.08, seed=seed)
        atoms.calc = EMT()
        atoms.get_forces()
        if atoms.pbc.all():
            atoms.get_stress()
        frames.append(atoms)
    write(folder / "train.xyz", frames[:12], format="extxyz")
    write(folder / "valid.xyz", frames[12:], format="extxyz")
    return frames, {s: float(Atoms(s, calculator=EMT()).get_potential_energy()) for s in ("Cu", "Au")}


@pytest.fixture(scope="module", params=sorted(ROWS))
def fitted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, context: Wire) -> Fitted:
    row = ROWS[request.param]
    module = registry.load("models", request.param)
    checks.needs(module)
    folder = tmp_path_factory.mktemp(request.param)
    frames, e0s = make_data(folder)
    summary = {"elements": ["Au", "Cu"], "frames": 12, "valid_frames": 4, "stress": False, "periodic": True, "e0s": e0s}
    job = {
        "workdir": str(folder / "work"),
        "train": str(folder / "train.xyz"),
        "valid": str(folder / "valid.xyz"),
        "config": module.plan(row.config, row.options, summary),
        "seed": 1,
    }
    with contextlib.nullcontext() if request.param == "mace" else warm.trainers(folder, *warm.NEQUIP):
        result = module.train(job, context)
    member = folder / "member-0"
    member.mkdir()
    for path in map(Path, result["weights"]):
        (member / path.name).write_bytes(path.read_bytes())
    crystal, molecule = wire(frames[12]), wire(frames[13])
    return Fitted(module, row, job, result, str(member), crystal, molecule, e0s, summary, context)


def test_it_satisfies_the_protocol(fitted: Fitted) -> None:
    checks.satisfies(fitted.module, Model)


def test_a_plan_is_builtins_and_the_options_win(fitted: Fitted) -> None:
    row, module = fitted.row, fitted.module
    planned = module.plan(row.config, row.options, fitted.summary)
    checks.is_builtin(planned)
    assert planned == fitted.job["config"]
    assert module.epochs(planned) == 3
    assert module.epochs(module.plan(row.config, {**row.options, row.epochs_key: "7"}, fitted.summary)) == 7


def test_what_a_plan_refuses(fitted: Fitted) -> None:
    row, module = fitted.row, fitted.module
    typo = row.epochs_key[:-1]
    for config, options in (({**row.config, typo: 3}, {}), (row.config, {typo: "3"})):
        with pytest.raises(UsageError) as caught:
            module.plan(config, options, fitted.summary)
        assert caught.value.message.startswith(typo)
        assert f"'{row.epochs_key}'" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        module.plan(row.config, {row.epochs_key: "many"}, fitted.summary)
    assert row.epochs_key in caught.value.message
    with pytest.raises(BadData, match="Au"):
        module.plan(row.config, {}, {**fitted.summary, "e0s": {"Cu": -1.0}})


def test_what_a_training_returns(fitted: Fitted) -> None:
    result = fitted.result
    checks.is_builtin(result)
    assert {"weights", "logs", "metrics", "trainer", "cutoff", "elements", "dtype", "atomic_energies"} <= set(result)
    assert result["weights"]
    assert all(Path(p).is_file() for p in (*result["weights"], *result["logs"]))
    assert sorted(result["elements"]) == ["Au", "Cu"]
    assert result["cutoff"] == 4.0
    assert result["dtype"] == "float64"
    assert result["atomic_energies"] == pytest.approx(fitted.e0s, abs=1e-12)
    assert any(c.isdigit() for c in result["trainer"]), "the trainer's version is missing"


def test_progress_has_every_epoch(fitted: Fitted) -> None:
    epochs = fitted.module.progress(Path(fitted.job["workdir"]))
    checks.is_builtin(epochs)
    assert [epoch["epoch"] for epoch in epochs] == [0, 1, 2]
    assert all(epoch["loss"] > 0 and epoch["valid_loss"] > 0 and epoch["lr"] > 0 for epoch in epochs)
    assert phase.read(Path(fitted.job["workdir"])) == "delivering"
    assert all(epoch["rmse_e_meV_per_atom"] > 0 and epoch["rmse_f_meV_per_A"] > 0 for epoch in epochs)
    assert fitted.module.progress(Path(fitted.job["workdir"]) / "nowhere") == []


def test_a_finished_training_is_not_done_again(fitted: Fitted) -> None:
    before = {path: Path(path).stat().st_mtime_ns for path in fitted.result["weights"]}
    assert fitted.module.train(fitted.job, fitted.context) == fitted.result
    assert {path: Path(path).stat().st_mtime_ns for path in before} == before


def test_predictions_have_their_shape_and_repeat(fitted: Fitted) -> None:
    frames = (fitted.crystal, fitted.molecule, fitted.crystal)
    found = fitted.predict(*frames)
    for label, frame in zip(found, frames, strict=True):
        checks.is_label(label, frame)
    assert found[0] == found[2]
    assert fitted.predict(fitted.molecule) == [found[1]], "a prediction depends on its neighbours"
    both = fitted.module.predict([fitted.crystal], [fitted.member] * 2, fitted.context)
    assert both == [[found[0]], [found[0]]]


def test_the_calculator_says_the_same(fitted: Fitted) -> None:
    import ase

    calculator = fitted.module.calculator(fitted.member, fitted.context)
    frames = (fitted.crystal, fitted.molecule)
    for frame, label in zip(frames, fitted.predict(*frames), strict=True):
        atoms = ase.Atoms(frame["symbols"], frame["positions"], cell=frame["cell"], pbc=frame["pbc"])
        atoms.calc = calculator
        assert atoms.get_potential_energy() == pytest.approx(label["energy"], abs=1e-8)
        assert atoms.get_forces().tolist() == [pytest.approx(row, abs=1e-8) for row in label["forces"]]
        if frame["cell"]:
            assert atoms.get_stress().tolist() == pytest.approx(label["stress"], abs=1e-8)


class _Counted:
    """A model that notes how many pairs each graph has."""

    def __init__(self, model: Any) -> None:
        self.model, self.cutoff, self.device, self.pairs = model, model.cutoff, model.device, list[int]()

    def __call__(self, graph: Any, stress: bool) -> Any:
        self.pairs.append(graph.pairs.shape[1])
        return self.model(graph, stress)


def test_many_walkers_at_once_get_the_same(fitted: Fitted, tmp_path: Path) -> None:
    """What torch-sim's interface to the family gives moves them as the calculator does."""
    pytest.importorskip("torch_sim", reason="torch-sim is not installed")
    if not hasattr(fitted.module, "torchsim"):
        pytest.skip("torch-sim has no interface to this family")
    import numpy as np
    import torch

    from psiflow_cli import voigt
    from psiflow_cli.samplers.torchsim.forces import Forces, models
    from psiflow_cli.samplers.torchsim.walkers import at_rest

    for frame in (fitted.crystal, fitted.molecule):
        periodic = all(frame["pbc"])
        cell = np.array(frame["cell"] or [[0.0] * 3] * 3, dtype=float)
        moved = {**frame, "positions": [[x + 0.05 * i, y, z] for i, (x, y, z) in enumerate(frame["positions"])]}
        members = models({"family": fitted.module.__name__, "members": [fitted.member]}, fitted.context, periodic)
        assert members[0].cutoff > 0.0 or not hasattr(fitted.module, "graph_model")
        found = at_rest([np.array(each["positions"]) for each in (frame, moved)], [cell] * 2, members[0].device)
        counted = [_Counted(member) if member.cutoff else member for member in members]
        forces = Forces(counted, 2, [frame, moved])
        forces(found, stress=periodic)
        exact = found.copy()
        forces.wait(False)  # a GPU gets some pairs beyond the cutoff, which must count for nothing
        forces(found, stress=periodic)
        assert not members[0].cutoff or counted[0].pairs[1] > counted[0].pairs[0]
        for name in ("energy", "forces", "stress") if periodic else ("energy", "forces"):
            assert torch.allclose(getattr(found, name), getattr(exact, name), rtol=0.0, atol=1e-10)
        count = len(frame["symbols"])
        for index, label in enumerate(fitted.predict(frame, moved)):
            part = slice(index * count, (index + 1) * count)
            assert float(found.energy[index]) == pytest.approx(label["energy"], abs=1e-8)
            assert found.forces[part].flatten().tolist() == pytest.approx(
                [x for row in label["forces"] for x in row], abs=1e-8
            )
            if periodic:
                assert voigt.from_matrix(found.stress[index]) == pytest.approx(label["stress"], abs=1e-8)


MOVES: tuple[Wire, ...] = (
    {"ensemble": "npt", "thermostat": "langevin", "cell": "flexible"},
    {"ensemble": "nvst", "thermostat": "nose-hoover", "cell": "flexible"},
    {"ensemble": "nvt", "thermostat": "nose-hoover", "cell": "flexible", "pbc": [True, True, False]},
)


@pytest.mark.parametrize("move", MOVES, ids=("npt", "nvst", "slab"))
def test_many_walkers_at_once_move_as_one_does_in_ase(fitted: Fitted, tmp_path: Path, move: Wire) -> None:
    """Step by step; a stress is computed where a frame is due or the cell moves, and nothing shows it."""
    pytest.importorskip("torch_sim", reason="torch-sim is not installed")
    if not hasattr(fitted.module, "graph_model"):
        pytest.skip("torch-sim has no interface to this family, or none that takes graphs")
    from ase.io import read

    from psiflow_cli.samplers import ase, torchsim

    frames = {}
    for engine in (ase, torchsim):
        folder = tmp_path / engine.__name__
        start = {**fitted.crystal, "pbc": move.get("pbc", [True] * 3)}
        job: Any = {
            **{"folder": str(folder), "model": {"family": fitted.module.__name__, "members": [fitted.member]}},
            "walkers": [{"walker": i, "start": start, "temperature": [300.0] * 2} for i in range(2)],
            **{"timestep": 1.0, "friction": 10.0, "thermostat_time": 50.0, "barostat_time": 200.0, "chain_length": 3},
            **{"pressure": 1000.0, "steps": 12, "every": 3, "block": 12, "batch": 2, "seed": 3, "limits": {}},
            **{"ramp_steps": None, "exchange": None, "beads": 1, "plumed": None},
            **{name: value for name, value in move.items() if name != "pbc"},
        }
        engine.advance(job, fitted.context)
        frames[engine] = [each for i in range(2) for each in read(folder / f"trajectory-{i:05d}.xyz", ":")]
    assert len(frames[ase]) == len(frames[torchsim]) == 8
    for one, two in zip(frames[ase], frames[torchsim], strict=True):
        assert two.positions.flatten().tolist() == pytest.approx(one.positions.flatten().tolist(), abs=1e-8)
        assert two.cell.array.flatten().tolist() == pytest.approx(one.cell.array.flatten().tolist(), abs=1e-8)
        assert two.info == pytest.approx(one.info, rel=1e-6, abs=1e-8)


def test_forces_and_stress_are_slopes_of_the_energy(fitted: Fitted) -> None:
    """In eV/Å, downhill, and in eV/Å³, positive under tension."""
    label = fitted.predict(fitted.crystal)[0]
    for axis in range(3):
        ends = fitted.predict(*(checks.moved(fitted.crystal, 0, axis, s * checks.STEP) for s in (1, -1)))
        slope = checks.derivatives([end["energy"] for end in ends])
        assert -slope == pytest.approx(label["forces"][0][axis], rel=1e-3, abs=1e-5)
        ends = fitted.predict(*(checks.strained(fitted.crystal, axis, s * checks.STEP) for s in (1, -1)))
        slope = checks.derivatives([end["energy"] for end in ends], checks.volume(fitted.crystal))
        assert slope == pytest.approx(label["stress"][axis], rel=1e-3, abs=1e-6)
    assert max(map(abs, label["stress"])) > 1e-5


def test_an_isolated_atom_has_the_energy_it_was_given(fitted: Fitted) -> None:
    for symbol, energy in fitted.e0s.items():
        atom = {**fitted.molecule, "symbols": [symbol], "positions": [[0.0, 0.0, 0.0]]}
        assert fitted.predict(atom)[0]["energy"] == pytest.approx(energy, abs=1e-9)


def test_a_bad_frame_fails_alone(fitted: Fitted) -> None:
    good = fitted.predict(fitted.crystal)[0]
    nan = checks.moved(fitted.molecule, 2, 1, float("nan"))
    overlapping = {**fitted.crystal, "positions": [fitted.crystal["positions"][1], *fitted.crystal["positions"][1:]]}
    foreign = {**fitted.molecule, "symbols": ["Fe", *fitted.molecule["symbols"][1:]]}
    found = fitted.predict(nan, fitted.crystal, overlapping, foreign)
    assert found[1] == good
    for failed in (found[0], found[2], found[3]):
        checks.is_failure(failed, "invalid-input")
    assert "Fe" in found[3]["message"]


def test_features_do_not_depend_on_how_a_structure_is_written(fitted: Fitted) -> None:
    """Turned, moved and with its atoms in another order; and they follow the atoms."""
    np = pytest.importorskip("numpy")
    angle = 0.7
    turn = np.array([[np.cos(angle), -np.sin(angle), 0.0], [np.sin(angle), np.cos(angle), 0.0], [0.0, 0.0, 1.0]])
    for frame in (fitted.crystal, fitted.molecule):
        order = list(reversed(range(len(frame["symbols"]))))
        positions = (np.array(frame["positions"]) @ turn.T + (0.3, -0.2, 0.5))[order]
        cell = None if frame["cell"] is None else (np.array(frame["cell"]) @ turn.T).tolist()
        other = {
            **frame,
            "positions": positions.tolist(),
            "cell": cell,
            "symbols": [frame["symbols"][i] for i in order],
        }
        here, there = fitted.module.features([frame, other], fitted.member, fitted.context)
        assert here.shape == (len(order), here.shape[1])
        np.testing.assert_allclose(there, here[order], atol=1e-8 * max(1.0, float(np.abs(here).max())))
        (shifted,) = fitted.module.features([checks.moved(frame, 0, 0, 0.1)], fitted.member, fitted.context)
        both = fitted.module.features([frame, fitted.crystal], fitted.member, {**fitted.context, "threads": 2})
        np.testing.assert_allclose(both[0], here, atol=1e-8 * max(1.0, float(np.abs(here).max())))
        assert float(np.abs(shifted - here).max()) > 1e-6
