"""Energies of a MACE model in float32: the energies of isolated atoms, which are large, cost no digits."""

from __future__ import annotations

import copy
import io
import math
import runpy
from pathlib import Path
from typing import Any

import pytest

from psiflow_cli.models import mace
from psiflow_cli.models.mace import atomic_energies, graphs, inference
from tests.models.test_mace import CONTEXT, TINY, Wire, make_job, wire

pytest.importorskip("mace", reason="mace-torch is not installed")

from tests.samplers.mace_model import untrained

SINGLE, DOUBLE = {**CONTEXT, "dtype": "float32"}, {**CONTEXT, "dtype": "float64"}
E0S = {"H": -13.587222780835477, "O": -2041.8396277138045}
PRECISE = 1e-4  # eV, for 200 atoms; MACE's own float32 is 0.5 eV off


def forward(frame: Any, calculator: Any) -> Any:
    return graphs.forward([frame], [graphs.graph(frame, calculator)], calculator)[0]


@pytest.fixture(scope="module")
def member(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with large energies of isolated atoms and interactions of some eV, in float64."""
    import torch

    path = tmp_path_factory.mktemp("model") / "mace.model"
    untrained(path)
    model: Any = torch.load(path, weights_only=False)
    model.atomic_energies_fn.atomic_energies = torch.tensor(list(E0S.values()), dtype=torch.float64)
    model.scale_shift.scale, model.scale_shift.shift = torch.tensor(8.0).double(), torch.tensor(-4.0).double()
    torch.save(model, path)
    return path


@pytest.fixture(scope="module")
def waters() -> list[Any]:
    """Boxes of 201 atoms that differ by a little."""
    from ase.build import molecule

    box = molecule("H2O", cell=[3.2] * 3, pbc=True)
    box = box.repeat((5, 5, 3))[:201]
    frames = [box.copy() for _ in range(3)]
    for seed, atoms in enumerate(frames):
        atoms.rattle(0.01, seed=seed)
    return frames


def test_float32_and_float64_are_the_same_energy(member: Path, waters: list[Any]) -> None:
    import numpy as np

    frames = [wire(atoms) for atoms in waters]
    right = np.array([each["energy"] for each in mace.predict(frames, [str(member)], DOUBLE)[0]])
    assert 1e-3 < np.ptp(right) < 10
    for context in (SINGLE, {**SINGLE, "threads": 2}):  # one by one, and in a batch
        energies = [each["energy"] for each in mace.predict(frames, [str(member)], context)[0]]
        assert energies == pytest.approx(right, abs=PRECISE)
    atoms = waters[0].copy()
    atoms.calc = mace.calculator(str(member), SINGLE)
    assert atoms.get_potential_energy() == pytest.approx(right[0], abs=PRECISE)
    assert atoms.get_potential_energies().sum() == pytest.approx(right[0], abs=PRECISE)
    assert abs(own(member, atoms, "float32") - right[0]) > 0.1, "MACE itself loses no digits: is the rule needed?"


def test_so_it_is_for_many_walkers_at_once(member: Path, waters: list[Any]) -> None:
    pytest.importorskip("torch_sim")
    from psiflow_cli.samplers.torchsim import forces, walkers

    energies = []
    for context in (SINGLE, DOUBLE):
        models = forces.models({"family": mace.__name__, "members": [str(member)], "weights": {}}, context, stress=True)
        predict = forces.Forces(models, 3, [wire(atoms) for atoms in waters], cells_move=False)
        state = walkers.at_rest(
            [atoms.positions for atoms in waters], [atoms.cell.array for atoms in waters], predict.device
        )
        predict(state, stress=True)
        energies.append(state.energy.numpy())
    assert energies[0] == pytest.approx(energies[1], abs=PRECISE)


def test_every_head_has_its_own_energies_of_atoms(waters: list[Any], tmp_path: Path) -> None:
    import torch
    from mace.calculators import MACECalculator

    path = tmp_path / "mace.model"
    untrained(path, heads=("one", "default"))
    frame = wire(waters[0])
    energies = torch.tensor([[value + 5 for value in E0S.values()], list(E0S.values())], dtype=torch.float64)
    for head in ("one", "default"):
        found = []
        for context in (SINGLE, DOUBLE):
            model: Any = inference.load(path)
            model.atomic_energies_fn.atomic_energies = energies
            dtype = context["dtype"]
            calculator = MACECalculator(models=[inference.computing(model, context)], default_dtype=dtype, head=head)
            found.append(forward(frame, calculator)["energy"])
        assert found[0] == pytest.approx(found[1], abs=PRECISE)


def test_an_exported_script_does_the_same(member: Path, waters: list[Any], tmp_path: Path) -> None:
    folder = mace.export([str(member)], "ase", "folder", str(tmp_path), DOUBLE)
    script = runpy.run_path(f"{folder}/calculator.py")
    energies = []
    for dtype in ("float32", "float64"):
        atoms = waters[0].copy()
        atoms.calc = script["calculator"](dtype=dtype)
        energies.append(atoms.get_potential_energy())
    assert energies[0] == pytest.approx(energies[1], abs=PRECISE)


def test_while_it_is_trained_and_no_longer(member: Path, waters: list[Any]) -> None:
    import torch
    from mace.calculators import MACECalculator

    frame = [wire(waters[0])]
    right = mace.predict(frame, [str(member)], DOUBLE)[0][0]["energy"]
    model: Any = inference.load(member)
    table, model = model.atomic_energies_fn.atomic_energies, model.float()
    model.atomic_energies_fn.atomic_energies = table
    calculator = MACECalculator(models=[model], default_dtype="float32")
    with atomic_energies.trained_in_float64(model):
        torch.save(atomic_energies.without_hooks(copy.deepcopy(model)), io.BytesIO())  # as the best so far
        energy = forward(*frame, calculator)["energy"]
    assert energy == pytest.approx(right, rel=2**-24)  # the nearest number that float32 has
    assert forward(*frame, calculator)["energy"] != pytest.approx(right, abs=0.1)


@pytest.mark.full
def test_a_training_in_float32_keeps_the_digits(tmp_path: Path) -> None:
    """Else what MACE loses would be learnt, and be missing where nothing is lost."""
    from ase.build import bulk
    from ase.calculators.emt import EMT
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io import write

    e0s = {"Au": -930.987654321, "Cu": -1300.123456789}
    frames = []
    for seed in range(4):
        atoms = bulk("Cu", cubic=True) * (5, 5, 2)
        atoms.symbols[::2] = "Au"
        atoms.rattle(0.05, seed=seed)
        atoms.calc = EMT()
        energy, forces = atoms.get_potential_energy() + sum(e0s[each] for each in atoms.symbols), atoms.get_forces()
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        frames.append(atoms)
    write(tmp_path / "train.xyz", frames[:2], format="extxyz")
    write(tmp_path / "valid.xyz", frames[2:], format="extxyz")
    data: Wire = {"train": str(tmp_path / "train.xyz"), "valid": str(tmp_path / "valid.xyz"), "summary": {
        "elements": ["Au", "Cu"], "frames": 2, "valid_frames": 2, "stress": False, "periodic": True, "e0s": e0s,
    }}  # fmt: skip
    config = {**TINY, "r_max": 3.0, "batch_size": 2, "valid_batch_size": 2, "max_num_epochs": 2, "swa": False}
    job = make_job(data, tmp_path / "work", {**config, "default_dtype": "float32"})
    trained = mace.train(job, CONTEXT)
    assert (trained["dtype"], trained["atomic_energies"]) == ("float32", e0s)
    assert "no model could be made" not in Path(trained["logs"][0]).read_text()
    weights = Path(trained["weights"][0])
    right = [atoms.get_potential_energy() for atoms in frames[2:]]
    ours = [each["energy"] for each in mace.predict([wire(atoms) for atoms in frames[2:]], [str(weights)], CONTEXT)[0]]
    theirs = [own(weights, atoms, "float32") for atoms in frames[2:]]
    assert rmse(ours, right) == pytest.approx(trained["metrics"]["rmse_e_meV_per_atom"], abs=0.2)
    assert rmse(theirs, right) != pytest.approx(trained["metrics"]["rmse_e_meV_per_atom"], abs=0.2)


def own(path: Path, atoms: Any, dtype: str) -> float:
    """The energy that MACE's own calculator gives."""
    from mace.calculators import MACECalculator

    atoms = atoms.copy()
    atoms.calc = MACECalculator(model_paths=str(path), device="cpu", default_dtype=dtype)
    return float(atoms.get_potential_energy())


def rmse(energies: list[float], right: list[float]) -> float:
    """In meV per atom, of frames of 200 atoms."""
    squares = [((a - b) / 200) ** 2 for a, b in zip(energies, right, strict=True)]
    return 1e3 * math.sqrt(sum(squares) / len(squares))
