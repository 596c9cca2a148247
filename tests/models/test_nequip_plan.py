"""The configuration of NequIP and Allegro, made where neither is installed."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from typing import Any

import pytest

from psiflow_cli.errors import BadData, BadSettings, UsageError
from psiflow_cli.models import allegro, mace, nequip
from psiflow_cli.models.nequip import settings

Wire = dict[str, Any]

SUMMARY: Wire = {
    "elements": ["C", "H"], "frames": 450, "valid_frames": 50, "stress": False, "some_stress": False, "periodic": False,
    "e0s": {"H": -13.6, "C": -1029.5},
}  # fmt: skip
TUTORIAL: Wire = {
    "run": ["train"],
    "cutoff_radius": 4.5,
    "num_layers": 2,
    "names": ["C", "H"],
    "trainer": {
        "_target_": "lightning.Trainer",
        "max_epochs": 12,
        "callbacks": [
            {"_target_": "lightning.pytorch.callbacks.ModelCheckpoint", "monitor": "val0_epoch/forces_rmse"},
        ],
    },
    "data": {"train_dataloader": {"_target_": "torch.utils.data.DataLoader", "batch_size": 5, "shuffle": True}},
    "training_module": {
        "_target_": "nequip.train.NequIPLightningModule",
        "optimizer": {"_target_": "torch.optim.AdamW", "lr": "1e-3"},
        "loss": {"_target_": "nequip.train.EnergyForceLoss", "coeffs": {"total_energy": 1.0, "forces": 1.0}},
        "val_metrics": {"_target_": "nequip.train.EnergyForceMetrics"},
        "model": {
            "_target_": "nequip.model.NequIPGNNModel",
            "r_max": "${cutoff_radius}",
            "num_layers": "${num_layers}",
            "type_names": "${names}",
            "pair_potential": {
                "_target_": "nequip.nn.pair_potential.ZBL", "units": "metal", "chemical_species": "${names}",
            },
        },
    },
}  # fmt: skip


def test_defaults_fit_the_data() -> None:
    plan = nequip.plan({}, {}, SUMMARY)
    assert plan["run"] == ["train"]
    model = plan["training_module"]["model"]
    assert model["_target_"] == "nequip.model.NequIPGNNModel"
    assert model["type_names"] == ["C", "H"]
    assert model["per_type_energy_shifts"] == {"C": -1029.5, "H": -13.6}
    assert model["model_dtype"] == "float32"
    assert plan["data"]["train_dataloader"]["batch_size"] == 5
    assert plan["training_module"]["loss"]["_target_"] == "nequip.train.EnergyForceLoss"
    assert nequip.epochs(plan) == plan["trainer"]["max_epochs"] > 20
    assert plan == json.loads(json.dumps(plan))
    for given in ({"stress": True, "some_stress": True}, {"some_stress": True}):
        module = nequip.plan({}, {}, {**SUMMARY, **given})["training_module"]
        assert module["loss"]["_target_"] == "nequip.train.EnergyForceStressLoss"
        assert module["loss"]["ignore_nan"] == module["val_metrics"]["ignore_nan"] == {"stress": True}
    shifts = "training_module.model.per_type_energy_shifts"
    assert settings.get(nequip.plan({}, {}, {**SUMMARY, "e0s": "average"}), shifts) == "average"
    assert settings.get(nequip.plan({}, {}, {**SUMMARY, "e0s": {1: -13.6, "6": -1029.5}}), shifts) == {
        "C": -1029.5,
        "H": -13.6,
    }
    assert nequip.plan({}, {"model_dtype": "float64"}, {**SUMMARY, "dtype": "float32"}) == nequip.plan(
        {}, {}, {**SUMMARY, "dtype": "float64"}
    )
    (later,) = plan["trainer"]["callbacks"]
    assert later["schedule"]["111"] == {"per_atom_energy_mse": 100.0, "forces_mse": 1.0}
    assert nequip.plan({}, {"loss.coeffs.forces": "2"}, SUMMARY)["trainer"]["callbacks"] == []
    assert nequip.plan({}, {}, {**SUMMARY, "frames": 1})["data"]["train_dataloader"]["batch_size"] == 1


def test_set_wins_over_the_file_and_the_file_over_the_defaults() -> None:
    plan = nequip.plan(
        {"r_max": 6, "lr": "1e-3", "training_module": {"ema_decay": 0.9}},
        {"model.r_max": "4.5", "trainer.deterministic": "true", "loss.coeffs.forces": "3"},
        SUMMARY,
    )
    assert settings.get(plan, "training_module.model.r_max") == 4.5
    assert settings.get(plan, "training_module.optimizer.lr") == 0.001
    assert settings.get(plan, "training_module.ema_decay") == 0.9
    assert plan["trainer"]["deterministic"] is True
    assert settings.get(plan, "training_module.loss.coeffs") == {"total_energy": 1.0, "forces": 3}


@pytest.mark.parametrize("family", [nequip, allegro])
def test_a_configuration_is_taken_as_it_is(family: Any) -> None:
    """Nothing is added but elements and atomic energies; files, seeds and device follow where the training runs."""
    given = copy.deepcopy(TUTORIAL)
    given["training_module"]["model"] |= {"model_dtype": "float64", "avg_num_neighbors": 12.5}
    plan = family.plan(given, {}, {**SUMMARY, "as_given": True})
    given["training_module"]["optimizer"]["lr"] = 0.001  # as Hydra reads it
    given["training_module"]["model"]["per_type_energy_shifts"] = {"C": -1029.5, "H": -13.6}
    given["data"]["_target_"] = "nequip.data.datamodule.ASEDataModule"
    assert plan == given
    with pytest.raises(BadSettings) as caught:
        family.plan({"batch_size": 5}, {}, {**SUMMARY, "as_given": True})
    keys = [refusal.key for refusal in caught.value.refusals]
    assert keys[:4] == ["trainer._target_", "trainer.max_epochs", "training_module._target_", "training_module.loss"]
    assert keys[-2:] == ["training_module.model._target_", "training_module.model.r_max"]
    del given["training_module"]["model"]["avg_num_neighbors"]
    with pytest.raises(BadSettings, match=r"model.avg_num_neighbors: missing"):
        family.plan(given, {}, {**SUMMARY, "as_given": True})


def test_all_that_is_refused_is_said_at_once() -> None:
    wrong = {"data": {"seed": 3}, "max_epoch": 3, "ckpt_path": "a"}
    with pytest.raises(BadSettings) as caught:
        nequip.plan(wrong, {"training_modul": "x"}, SUMMARY)
    assert {refusal.key for refusal in caught.value.refusals} == {
        "data.seed",
        "max_epoch",
        "ckpt_path",
        "training_modul",
    }
    with pytest.raises(BadSettings) as caught:
        nequip.plan({"run": ["train", "test"], "r_max": "far", "batch_size": 2.5}, {}, SUMMARY)
    assert [refusal.key.rpartition(".")[2] for refusal in caught.value.refusals] == ["batch_size", "r_max", "run"]


def test_sizes_grow() -> None:
    sizes = [
        (
            settings.get(nequip.plan({}, {}, {**SUMMARY, "size": size}), "training_module.model.num_features"),
            settings.get(allegro.plan({}, {}, {**SUMMARY, "size": size}), "training_module.model.num_tensor_features"),
        )
        for size in ("small", "medium", "large")
    ]
    assert sizes == [(32, 16), (64, 32), (128, 64)]


def test_files_and_packages_that_a_configuration_names() -> None:
    config = {
        "data": {"train_file_path": "a.xyz"},
        "training_module": {"model": {"table_file": "b.dat", "pair": {"path": "c", "monitor": "val0_epoch/x.txt"}}},
        "trainer": {
            "logger": [{"_target_": "lightning.pytorch.loggers.WandbLogger", "save_dir": "logs.txt"}],
            "callbacks": [{"_target_": "mine.Stop", "table": "d.json", "dirpath": "e.json", "other": "${x}.json"}],
        },
    }
    named = nequip.named_files(config, {"model.other_path": "f"})
    assert [(each["name"], each["module"]) for each in named] == [
        ("mine", True), ("b.dat", False), ("c", False), ("d.json", False), ("f", False),
    ]  # fmt: skip
    assert nequip.packages(config) == {"wandb": "trainer.logger (WandbLogger)", "mine": "trainer.callbacks (mine.Stop)"}


def test_a_logger_s_place_is_noted_and_a_metric_of_nothing_refused() -> None:
    logger = {"_target_": "lightning.pytorch.loggers.CSVLogger", "save_dir": "csv"}
    plan = nequip.plan({"trainer": {"logger": logger}}, {}, SUMMARY)
    assert nequip.notes(plan, SUMMARY) == ["CSVLogger writes to csv in OUTPUT.run/work/*/member-*/"]
    stress = {**SUMMARY, "some_stress": True, "valid_stress": False}
    assert settings.get(nequip.plan({}, {}, stress), "training_module.val_metrics.coeffs.stress_rmse", 1) is None
    with pytest.raises(UsageError, match="no validation frame has a stress"):
        nequip.plan({"val_metrics": {"coeffs": {"stress_rmse": 1.0}}}, {}, stress)


def test_a_configuration_of_nequip_s_own_passes_through() -> None:
    plan = nequip.plan(TUTORIAL, {"cutoff_radius": "4.0"}, SUMMARY)
    assert plan["cutoff_radius"] == 4.0
    module = plan["training_module"]
    assert module["model"]["r_max"] == "${cutoff_radius}"
    assert module["model"]["pair_potential"]["chemical_species"] == "${names}"
    assert module["optimizer"] == {"_target_": "torch.optim.AdamW", "lr": 0.001}
    assert "ema_decay" not in module
    assert nequip.epochs(plan) == 12
    assert settings.monitor(plan) == "val0_epoch/forces_rmse"
    assert settings.resolved(plan, module["model"]["type_names"]) == ["C", "H"]


@pytest.mark.parametrize(
    ("config", "options", "message", "hint"),
    [
        ({}, {"model.per_type_energy_shifts": "1"}, "per_type_energy_shifts: psiflow sets", "--e0s"),
        ({"data": {"seed": 3}}, {}, "data.seed: psiflow sets", "--seed"),
        ({}, {"model.seed": "3"}, "training_module.model.seed: psiflow sets", "--seed"),
        ({"data": {"split_dataset": {"train": 0.9}}}, {}, "data.split_dataset: psiflow sets", "--valid"),
        ({"trainer": {"accelerator": "gpu"}}, {}, "trainer.accelerator: psiflow sets", "[resources]"),
        ({"ckpt_path": "last.ckpt"}, {}, "ckpt_path: psiflow sets", "itself"),
        ({"run": ["train", "test"]}, {}, "run: psiflow train does not run ['train', 'test']", "evaluate"),
        ({"training_modul": {}}, {}, "training_modul: NequIP's trainer has no such key", "training_module"),
        ({"cutoff_radius": 5.0}, {}, "cutoff_radius: NequIP's trainer has no such key", ""),
        ({}, {"max_epoch": "3"}, "max_epoch: NequIP's trainer has no such key", "max_epochs"),
        ({}, {"trainer.max_epoch": "3"}, "trainer.max_epoch: lightning.Trainer has no such key", "max_epochs"),
        ({}, {"model.num_layer": "3"}, "training_module.model.num_layer: nequip", "num_layers"),
        ({}, {"r_max": "far"}, "r_max: 'far' is not a number", ""),
        ({}, {"batch_size": "2.5"}, "batch_size: 2.5 is not an integer", ""),
        ({}, {"max_epochs": "-1"}, "max_epochs: -1 is not an integer above zero", ""),
        ({}, {"model_dtype": "half"}, "model_dtype: 'half' is not float32 or float64", ""),
        (
            {"data": {"train_dataloader": {"drop_last": True}}}, {"batch_size": "451"},
            "batch_size 451 is larger than the training set (450 frames), but drop_last", "batch_size=450",
        ),
        ({"training_module": 3}, {}, "training_module: 3 is not a table", ""),
        ({}, {"model._target_": "nequip.model.ModelFromPackage"}, "model._target_: psiflow sets this", "--init"),
        ({}, {"model.type_names": "[H]"}, "model.type_names: psiflow takes the elements", "leave it out"),
        ({}, {"optimizer.lr.x": "1"}, "lr: {'x': 1} is not a number", ""),
    ],
)  # fmt: skip
def test_wrong_settings_are_refused_with_what_to_use(
    config: Wire, options: dict[str, str], message: str, hint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        nequip.plan(config, options, SUMMARY)
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize("family", [nequip, allegro])
def test_a_batch_larger_than_the_data_is_only_noted(family: Any) -> None:
    """Its loader gives one smaller batch."""
    whole, larger = (family.plan({}, {"batch_size": size}, SUMMARY) for size in ("450", "451"))
    assert family.notes(whole, SUMMARY) == []
    (note,) = family.notes(larger, SUMMARY)
    assert "batch_size 451 is larger than the training set (450 frames)" in note


def test_several_gpus_are_noted_with_their_batches() -> None:
    summary = {**SUMMARY, "gpus": 4}
    planned = nequip.plan({}, {"batch_size": "5"}, summary)
    note = nequip.notes(planned, summary)[0]
    assert note.startswith("4 GPUs, each with batches of 5: 20 frames for a step; lr 0.0")
    with pytest.raises(
        UsageError, match=r"batch_size 114 is larger than the share of each of 4 GPUs .* \(113 frames\)"
    ):
        nequip.plan({}, {"batch_size": "114", "data.train_dataloader.drop_last": "true"}, summary)


@pytest.mark.parametrize("family", [nequip, allegro])
def test_a_loss_of_stresses_that_are_not_there_is_noted(family: Any) -> None:
    with_stress = family.plan({}, {}, {**SUMMARY, "some_stress": True})
    assert family.notes(with_stress, {**SUMMARY, "some_stress": True}) == []
    assert family.notes(with_stress, SUMMARY) == [
        "loss: EnergyForceStressLoss, but no frame has a stress that can be used"
    ]


def test_weights_of_frames_are_refused_before_anything_is_submitted() -> None:
    """Where the frame is, what it says, and what to do; MACE's trainer has such weights."""
    weighted = {**SUMMARY, "weighted": "data.xyz:5: frame 2: config_weight=2.0"}
    with pytest.raises(BadData) as caught:
        nequip.plan({}, {}, weighted)
    assert caught.value.message.startswith("data.xyz:5: frame 2: config_weight=2.0, but NequIP's trainer")
    assert "more than once" in caught.value.hint
    mace.plan({}, {}, weighted)


def test_a_start_decides_the_architecture() -> None:
    old = nequip.plan({}, {"num_layers": "2", "model_dtype": "float64"}, SUMMARY)
    tuned = nequip.plan({}, {"num_layers": "2", "model.compile_mode": "compile"}, {**SUMMARY, "init": old})
    model = tuned["training_module"]["model"]
    assert (model["num_layers"], model["model_dtype"], model["compile_mode"]) == (2, "float64", "compile")
    assert settings.get(tuned, "training_module.optimizer.lr") < settings.get(old, "training_module.optimizer.lr")
    assert nequip.epochs(tuned) * 4 <= nequip.epochs(old)
    assert settings.get(tuned, "training_module.loss.coeffs.total_energy") == 100.0
    assert [c["_target_"].rpartition(".")[2] for c in tuned["trainer"]["callbacks"]] == ["EarlyStopping"]
    with pytest.raises(UsageError, match="num_layers 3 is not possible: it is 2 in the model to start from"):
        nequip.plan({}, {"num_layers": "3"}, {**SUMMARY, "init": old})
    with pytest.raises(UsageError, match=r"r_max 4.0 is not possible: it is decided by"):
        nequip.plan({}, {"r_max": "4.0"}, {**SUMMARY, "init": {}, "e0s": "init"})
    bare = nequip.plan({}, {}, {**SUMMARY, "init": {}, "e0s": "init"})
    assert bare["training_module"]["model"] == {"type_names": ["C", "H"]}, "nobody knows how it was built"
    variables = nequip.plan(TUTORIAL, {}, SUMMARY)
    of_variables = nequip.plan({}, {}, {**SUMMARY, "init": variables})["training_module"]["model"]
    assert (of_variables["r_max"], of_variables["pair_potential"]["chemical_species"]) == (4.5, ["C", "H"])


def test_an_element_without_atomic_energy_is_named() -> None:
    with pytest.raises(BadData, match="no atomic energy for C"):
        nequip.plan({}, {}, {**SUMMARY, "e0s": {"H": -13.6}})


def test_the_command_s_process_imports_nothing_heavy() -> None:
    heavy = {"numpy", "ase", "torch", "nequip", "allegro", "lightning", "hydra", "omegaconf"}
    code = f"import sys, psiflow_cli.models.allegro; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_progress_of_a_torn_and_resumed_file(tmp_path: Any) -> None:
    assert nequip.progress(tmp_path) == []
    path = tmp_path / "epochs.jsonl"

    def line(epoch: int, loss: float) -> str:
        return json.dumps({"epoch": epoch, "loss": loss, "valid_loss": loss}) + "\n"

    path.write_text(line(0, 4.0) + line(1, 3.0) + '{"epoch": 2, "lo')
    assert [e["loss"] for e in nequip.progress(tmp_path)] == [4.0, 3.0]
    path.write_text(line(0, 4.0) + line(1, 3.0) + line(1, 2.5) + line(2, 2.0))
    assert [(e["epoch"], e["loss"]) for e in nequip.progress(tmp_path)] == [(0, 4.0), (1, 2.5), (2, 2.0)]
