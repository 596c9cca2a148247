"""What psiflow uses of MACE without its promise is in the installed version."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from psiflow_cli.models.mace import graphs, mace_internals
from psiflow_cli.models.mace.trainer import internals
from psiflow_cli.worker import installed
from psiflow_cli.worker.training.early_stopping import Stopping

pytest.importorskip("mace", reason="mace-torch is not installed")

from tests.samplers.mace_model import untrained

WATER: Any = {
    "symbols": ["O", "H", "H"], "positions": [[0.0, 0.0, 0.0], [0.0, 0.76, 0.59], [0.0, -0.76, 0.59]],
    "cell": None, "pbc": [False] * 3, "charge": 1, "multiplicity": 2,
}  # fmt: skip
CRYSTAL: Any = {**WATER, "cell": [[6.0, 0.0, 0.0], [0.0, 6.0, 0.0], [0.0, 0.0, 6.0]], "pbc": [True] * 3}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "mace.model"
    untrained(path)
    return path


@pytest.fixture(scope="module")
def calculator(path: Path) -> Any:
    from mace.calculators import MACECalculator

    return MACECalculator(model_paths=str(path), device="cpu", default_dtype="float64")


def test_the_parts_that_are_replaced_and_called_are_there() -> None:
    installed.require("mace-torch", "internals.py", internals._TRAINER)
    installed.require("mace-torch", "mace_internals.py", mace_internals._DATA)


def test_another_mace_is_named_with_what_it_lacks(calculator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from mace import tools

    monkeypatch.delattr(tools, "CheckpointHandler")
    with pytest.raises(ImportError, match=r"^mace-torch \d.*: mace\.tools has no CheckpointHandler; see tr"):
        internals.replace_parts(SimpleNamespace, Stopping())
    monkeypatch.setattr(tools, "train", lambda model: None)
    with pytest.raises(ImportError, match=r"mace\.tools\.train takes no checkpoint_handler; see mace_internals\.py$"):
        installed.require("mace-torch", "mace_internals.py", {"mace.tools:train": ["checkpoint_handler"]})
    with pytest.raises(ImportError, match=r"mace\.none is missing; see mace_internals\.py$"):
        installed.require("mace-torch", "mace_internals.py", {"mace.none": ()})
    with pytest.raises(ModuleNotFoundError, match="nothing_of_this_name"):
        installed.require("mace-torch", "mace_internals.py", {"nothing_of_this_name": ()})
    with pytest.raises(ImportError, match="MACECalculator has no z_table"):
        mace_internals.elements_of(SimpleNamespace(models=[]))


def test_what_a_model_says_of_itself(path: Path, calculator: Any) -> None:
    import torch

    model = torch.load(path, weights_only=False)
    energies = {"H": -13.0, "O": -430.0}
    assert mace_internals.description(model) == {
        "elements": ["H", "O"], "cutoff": 4.0, "dtype": "float64", "atomic_energies": energies,
        "heads": ["Default"],
    }  # fmt: skip
    assert mace_internals.native_dtype(model) == "float64"
    assert len(mace_internals.heads(model)) == 1
    assert mace_internals.elements_of(calculator) == {"H", "O"}
    with pytest.raises(ImportError, match="Linear has no atomic_numbers"):
        mace_internals.description(torch.nn.Linear(1, 1))


def test_a_batch_is_what_the_calculator_says(calculator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import ase
    import numpy as np

    from psiflow_cli.worker.structures import conversion

    frames = [WATER, CRYSTAL]
    made = [graphs.graph(frame, calculator) for frame in frames]
    ours = graphs.forward(frames, made, calculator)
    for frame, found in zip(frames, ours, strict=True):
        atoms = ase.Atoms(frame["symbols"], frame["positions"], cell=frame["cell"], pbc=frame["pbc"])
        atoms.info.update(charge=1, spin=2)
        atoms.calc = calculator
        assert found["energy"] == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
        assert found["forces"] == [pytest.approx(row, abs=1e-9) for row in atoms.get_forces().tolist()]
        assert found["stress"] == (pytest.approx(atoms.get_stress().tolist(), abs=1e-9) if frame["cell"] else None)
        assert set(found) == {"energy", "forces", "stress"}
    for features, atoms in zip(graphs.describe(frames, made, calculator), map(conversion.to_ase, frames), strict=True):
        assert np.allclose(features, calculator.get_descriptors(atoms), rtol=0, atol=1e-10)
    monkeypatch.setattr(mace_internals, "needs_more_than_a_graph", lambda model: True)
    for one, other in zip(graphs.forward(frames, made, calculator), ours, strict=True):
        assert one["forces"] == [pytest.approx(row, abs=1e-9) for row in other["forces"]]
    graph = mace_internals._graph(WATER, calculator)
    assert (float(graph.total_charge), float(graph.total_spin)) == (1.0, 2.0)


def test_torch_sim_has_an_interface() -> None:
    pytest.importorskip("torch_sim", reason="torch-sim is not installed")
    assert isinstance(mace_internals.torchsim_interface(), type)


def test_the_results_file_has_these_metrics() -> None:
    """The names that MACE's evaluation gives them."""
    import inspect

    source = inspect.getsource(importlib.import_module("mace.tools.train"))
    for name in mace_internals._METRICS:
        assert re.search(rf"aux\[\"{name}\"\]|\"{name}\"", source), f"mace.tools.train measures no {name}"
    entry: Any = {"mode": "eval", "epoch": 3, "loss": 1.0, "rmse_f": 0.25, "q95_f": 1.0}
    assert mace_internals.errors(entry) == {"rmse_f_meV_per_A": 250.0}


def test_run_train_gets_the_replacements(monkeypatch: pytest.MonkeyPatch) -> None:
    tools = importlib.import_module("mace.tools")
    run_train = importlib.import_module("mace.cli.run_train")
    for module, name in ((tools, "CheckpointHandler"), (tools, "train"), (run_train, "jit")):
        monkeypatch.setattr(module, name, getattr(module, name))
    monkeypatch.setattr(run_train, "create_error_table", lambda *_, **__: "a table")
    before, stopping = tools.train, Stopping()
    internals.replace_parts(SimpleNamespace, stopping)
    assert tools.CheckpointHandler is SimpleNamespace
    assert tools.train is not before
    assert run_train.tools is tools
    with pytest.raises(NotImplementedError):
        run_train.jit.compile(None)
    assert run_train.create_error_table("PerAtomRMSE") == "a table"
    stopping.out_of_time = True
    assert run_train.create_error_table("PerAtomRMSE") == "left out: the time is up"


def test_gradients_that_nobody_sets_to_zero_go_on(tmp_path: Path) -> None:
    """As those of the radial basis of a model to start from: they add up, and count when MACE clips."""
    import torch

    def parts() -> internals.TrainerParts:
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 1))
        optimizer = torch.optim.Adam(model[1].parameters(), lr=0.1)
        loader: Any = SimpleNamespace(generator=torch.Generator())
        scheduler: Any = None
        return internals.TrainerParts(None, loader, scheduler, None, model, optimizer)

    def train(its: internals.TrainerParts, *batches: int) -> None:
        for number in batches:
            its.optimizer.zero_grad(set_to_none=True)
            its.model(torch.full((1, 3), float(number))).square().sum().backward()
            torch.nn.utils.clip_grad_norm_(its.model.parameters(), 1.0)
            its.optimizer.step()

    whole, begun, rest = parts(), parts(), parts()
    train(whole, 1, 2, 3, 4)
    train(begun, 1, 2)
    saved = [begun.model.state_dict(), begun.optimizer.state_dict(), begun.state()]
    torch.save(saved, tmp_path / "last.pt")
    model, optimizer, state = torch.load(tmp_path / "last.pt", weights_only=True)
    rest.model.load_state_dict(model)
    rest.optimizer.load_state_dict(optimizer)
    rest.put_back(state)
    train(rest, 3, 4)
    assert all(torch.equal(one, other) for one, other in zip(*map(_parameters, (whole, rest)), strict=True))
    assert set(state["gradients"]) == {"0.weight", "0.bias"}
    del state["gradients"]  # a checkpoint of an earlier psiflow
    rest.put_back(state)


def _parameters(its: internals.TrainerParts) -> list[Any]:
    return list(its.model.parameters())


def test_the_rate_of_what_is_trained_is_shown() -> None:
    """And not that of the embedding, which comes first and which `freeze` leaves alone."""
    optimizer = SimpleNamespace(param_groups=[{"lr": 0.0}, {"lr": 1e-3}])
    its = SimpleNamespace(optimizer=optimizer, swa=None)
    assert internals._pace({"mode": "eval", "epoch": 3}, its, 0) == {"lr": 1e-3}
