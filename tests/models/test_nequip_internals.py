"""What psiflow uses of NequIP and Lightning without their promise is in the installed versions."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from psiflow_cli.models.nequip import nequip_internals
from psiflow_cli.worker import installed

pytest.importorskip("nequip", reason="nequip is not installed")

READER = "nequip_internals.py"


@pytest.fixture(scope="module")
def model() -> Any:
    """An untrained one for H and O."""
    from nequip.model import NequIPGNNModel
    from nequip.utils.global_state import set_global_state

    set_global_state()
    return NequIPGNNModel(
        seed=1, model_dtype="float64", type_names=["H", "O"], r_max=4.0, num_layers=1, l_max=1, num_features=4,
        parity=False, avg_num_neighbors=8.0, per_type_energy_shifts={"H": -13.0, "O": -430.0},
    ).eval()  # fmt: skip


def test_what_a_model_says_of_itself(model: Any) -> None:
    import torch

    inner = model["sole_model"] if hasattr(model, "keys") else model
    assert nequip_internals.description(inner) == {
        "elements": ["H", "O"], "cutoff": 4.0, "dtype": "float64", "atomic_energies": {"H": -13.0, "O": -430.0},
    }  # fmt: skip
    with pytest.raises(ImportError, match=r"^nequip \d.*: Linear has no type_names; see nequip_internals\.py$"):
        nequip_internals.description(torch.nn.Linear(1, 1))


def test_another_precision_is_that_of_all_but_the_energies_of_atoms(model: Any) -> None:
    import copy

    import torch

    inner = copy.deepcopy(model["sole_model"] if hasattr(model, "keys") else model)
    nequip_internals.cast_model(inner, "float64")
    assert {p.dtype for p in inner.parameters()} == {torch.float64}
    nequip_internals.cast_model(inner, "float32")
    kinds = {
        tensor.dtype for module in inner.modules() if type(module).__name__ != nequip_internals.SCALE_SHIFT
        for tensor in module._parameters.values() if tensor is not None
    }  # fmt: skip
    assert kinds == {torch.float32}
    names = {type(module).__name__ for module in inner.modules()}
    assert nequip_internals.SCALE_SHIFT in names, "nequip has no PerTypeScaleShift; see nequip_internals.py"


def test_models_are_loaded_without_being_compiled() -> None:
    from nequip.integrations.ase import NequIPCalculator
    from nequip.integrations.torchsim import NequIPTorchSimCalc

    for kind in (NequIPCalculator, NequIPTorchSimCalc):
        installed.require("nequip", READER, {f"{kind.__module__}:{kind.__name__}": ("_from_saved_model",)})
        taken = inspect.signature(kind._from_saved_model).parameters
        assert {"device", "chemical_species_to_atom_type_map"} <= set(taken)
    assert "neighborlist_backend" in inspect.signature(NequIPTorchSimCalc._from_saved_model).parameters
    installed.require("nequip", READER, {"nequip.model.saved_models.load_utils": ("load_saved_model",)})


def test_a_batch_is_made_of_what_the_calculator_makes_of_frames() -> None:
    from nequip.data import AtomicDataDict

    assert AtomicDataDict.TOTAL_ENERGY_KEY == "total_energy"
    assert (AtomicDataDict.FORCE_KEY, AtomicDataDict.STRESS_KEY) == ("forces", "stress")
    assert callable(AtomicDataDict.batched_from_list)
    features = (AtomicDataDict.NODE_FEATURES_KEY, AtomicDataDict.EDGE_FEATURES_KEY, AtomicDataDict.EDGE_INDEX_KEY)
    assert features == ("node_features", "edge_features", "edge_index")


def test_another_nequip_is_named_with_what_it_lacks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = importlib.import_module("nequip.scripts.package")
    monkeypatch.delattr(script, "main")
    with pytest.raises(ImportError, match=r"^nequip \d.*: nequip\.scripts\.package has no main; see nequip_internals"):
        nequip_internals.package("best.ckpt", tmp_path / "a.nequip.zip")
    nothing: Any = SimpleNamespace()
    with pytest.raises(ImportError, match=r"^lightning \d.*: Trainer has no _checkpoint_connector; see "):
        nequip_internals.state(nothing)


def test_the_trainer_gets_a_callback_that_comes_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning's own checkpoints are made only where the configuration asks for them."""
    import lightning

    script = importlib.import_module("nequip.scripts.train")
    made: list[Any] = []

    def main() -> None:
        for callbacks in ([], [{"_target_": "lightning.pytorch.callbacks.ModelCheckpoint"}]):
            trainer = {"_target_": "lightning.Trainer", "callbacks": callbacks, "logger": False}
            made.append(script.instantiate({**trainer, "accelerator": "cpu"}, inference_mode=False))
        made.append(script.instantiate({"_target_": "builtins.dict", "a": 1}))

    monkeypatch.setattr(script, "main", main)
    monkeypatch.setattr(script, "instantiate", script.instantiate)
    monkeypatch.setattr("sys.argv", ["trainer"])

    class Ours:
        pass

    nequip_internals.run_trainer(["-cn", "nequip"], Ours, lambda kind: kind())
    without, with_own, other = made
    assert isinstance(without, lightning.Trainer)
    assert [isinstance(each.callbacks[-1], Ours) for each in (without, with_own)] == [True, True]
    kinds = [[type(callback).__name__ for callback in each.callbacks] for each in (without, with_own)]
    assert ["ModelCheckpoint" in names for names in kinds] == [False, True]
    assert other == {"a": 1}
    assert callable(without._checkpoint_connector.dump_checkpoint)


def test_an_epoch_has_our_names_for_its_metrics() -> None:
    from nequip.train import EnergyForceStressMetrics

    coefficients = dict.fromkeys(nequip_internals._METRICS, 1.0)
    names = set(EnergyForceStressMetrics(coeffs=coefficients).keys())
    assert set(nequip_internals._METRICS) <= names, "nequip has other metrics; see nequip_internals.py"
    values = {"val0_epoch/forces_rmse": 0.25, "val0_epoch/stress_mae": float("nan"), "train_loss_epoch/weighted_sum": 2}
    optimizers = [SimpleNamespace(param_groups=[{"lr": 0.01}])]
    trainer: Any = SimpleNamespace(callback_metrics=values, current_epoch=3, optimizers=optimizers)
    assert nequip_internals.epoch(trainer, 0.5) == {
        "epoch": 3, "loss": 2.0, "valid_loss": 0.5, "lr": 0.01, "rmse_f_meV_per_A": 250.0,
    }  # fmt: skip


def test_the_parts_of_the_loss_have_coefficients() -> None:
    from nequip.train import EnergyForceLoss

    loss = EnergyForceLoss(per_atom_energy=True, coeffs={"total_energy": 2.0, "forces": 1.0})
    module: Any = SimpleNamespace(loss=loss)
    before = nequip_internals.coefficients(module)
    assert len(before) == 2
    nequip_internals.set_coefficients(module, dict.fromkeys(before, 0.25))
    assert set(nequip_internals.coefficients(module).values()) == {0.25}


def test_the_order_of_the_data_is_put_back() -> None:
    import torch
    from nequip.data.datamodule import NequIPDataModule

    source = inspect.getsource(NequIPDataModule)
    for name in ("train_generator", "train_generator_state"):
        assert f"self.{name}" in source, f"NequIPDataModule has no {name}; see nequip_internals.py"
    generator, other = torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)
    data = SimpleNamespace(train_generator=generator, train_generator_state=other.get_state())
    trainer: Any = SimpleNamespace(datamodule=data)
    nequip_internals.restore_order(trainer)
    assert bool((generator.get_state() == other.get_state()).all())
