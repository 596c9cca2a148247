"""NequIP through the seam: its real trainer, killed and gone on, and predictions equal to its own calculator's."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from psiflow_cli import registry
from psiflow_cli.models import nequip
from psiflow_cli.models.nequip import data as training_data
from psiflow_cli.models.nequip import files, keys, settings
from psiflow_cli.stages.train.config import read
from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.models import batches
from psiflow_cli.worker.models.batching import batch_size

pytest.importorskip("nequip", reason="nequip is not installed")

Wire = dict[str, Any]

CONTEXT: Wire = {"device": "cpu", "dtype": None, "threads": 1, "cores": 1, "env": {}}
TINY: Wire = {
    "num_features": 4, "num_layers": 2, "r_max": 4.0, "l_max": 1, "radial_mlp_width": 8, "batch_size": 3,
    "model_dtype": "float64", "max_epochs": 8,
    "lr_scheduler": {
        "scheduler": {"_target_": "torch.optim.lr_scheduler.ReduceLROnPlateau", "patience": 0, "threshold": 0.2},
        "monitor": "val0_epoch/weighted_sum",
    },
}  # fmt: skip


def make_frames() -> list[Any]:
    """Rattled copper, periodic with stress, clusters without, and crystals whose stress nobody knows, by ASE's EMT."""
    from ase.build import bulk
    from ase.calculators.emt import EMT
    from ase.cluster import Icosahedron

    frames = []
    for seed in range(16):
        if seed % 2:
            atoms = Icosahedron("Cu", 2)
            atoms.symbols[seed % 13] = "Au"
        else:
            atoms = bulk("Cu", cubic=True) * (1, 1, 2)
            atoms.symbols[0] = "Au"
            atoms.set_cell(atoms.cell * [1.0, 1.02, 0.99], scale_atoms=True)
        atoms.rattle(0.08, seed=seed)
        atoms.calc = EMT()
        atoms.get_potential_energy()
        atoms.get_forces()
        if seed % 3 == 0:
            atoms.calc.results.pop("stress", None)
        frames.append(atoms)
    return frames


def wire(atoms: Any) -> Wire:
    """A frame as it crosses the wire."""
    cell = atoms.cell.tolist() if atoms.pbc.any() else None
    positions = atoms.positions.tolist()
    return {"symbols": list(atoms.symbols), "positions": positions, "cell": cell, "pbc": atoms.pbc.tolist()}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, warm_nequip: None) -> Wire:
    """Training and validation files, and the summary that goes with them."""
    from ase import Atoms
    from ase.calculators.emt import EMT
    from ase.io import write

    folder = tmp_path_factory.mktemp("data")
    frames = make_frames()
    e0s = {}
    for symbol in ("Cu", "Au"):
        atom = Atoms(symbol, info={"config_type": "IsolatedAtom"}, calculator=EMT())
        e0s[symbol] = atom.get_potential_energy()
        frames.insert(0, atom)
    write(folder / "train.xyz", frames[:-4], format="extxyz")
    write(folder / "valid.xyz", frames[-4:], format="extxyz")
    summary = {"elements": ["Au", "Cu"], "frames": 12, "valid_frames": 4, "periodic": True, "e0s": e0s}
    summary |= {"stress": False, "some_stress": True}
    return {
        "train": str(folder / "train.xyz"),
        "valid": str(folder / "valid.xyz"),
        "summary": summary,
        "frames": frames,
    }


def make_job(data: Wire, folder: Path, config: Wire, seed: int = 5, **summary: Any) -> Wire:
    planned = nequip.plan(config, {}, {**data["summary"], **summary})
    return {"workdir": str(folder), "train": data["train"], "valid": data["valid"], "config": planned, "seed": seed}


@pytest.fixture(scope="module")
def trained(data: Wire, tmp_path_factory: pytest.TempPathFactory) -> tuple[Wire, Wire]:
    """An uninterrupted training: its job and its result."""
    job = make_job(data, tmp_path_factory.mktemp("trained"), TINY)
    return job, nequip.train(job, CONTEXT)


@pytest.fixture(scope="module")
def member(trained: tuple[Wire, Wire]) -> str:
    """The folder of its weights."""
    return str(Path(trained[1]["weights"][0]).parent)


def weights(path: str | Path) -> dict[str, Any]:
    from nequip.model.saved_models.load_utils import load_saved_model
    from nequip.utils.global_state import set_global_state

    set_global_state()
    return dict(load_saved_model(str(path)).state_dict())


def same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return first.keys() == second.keys() and all(bool((first[k] == second[k]).all()) for k in first)


# --- what NequIP takes ------------------------------------------------------------------------------------------------


def test_the_known_keys_are_those_of_the_installed_packages() -> None:
    import inspect

    import lightning
    from allegro.model import AllegroModel
    from allegro.model.allegro_models import FullAllegroModel
    from nequip.data.datamodule import ASEDataModule, NequIPDataModule
    from nequip.model import FullNequIPGNNModel, NequIPGNNModel
    from nequip.train import EMALightningModule, NequIPLightningModule

    def names(*functions: Any) -> set[str]:
        found = {name for function in functions for name in inspect.signature(function).parameters}
        return found - {"self", "kwargs", "num_datasets", "info_dict"}

    builder = {"seed", "model_dtype", "compile_mode"}
    made_by_it = {"irreps_edge_sh", "feature_irreps_hidden", "tensor_track_allowed_irreps"}
    module = names(NequIPLightningModule.__init__)
    actual = {
        "lightning.Trainer": names(lightning.Trainer.__init__),
        "nequip.data.datamodule.ASEDataModule": names(ASEDataModule.__init__, NequIPDataModule.__init__),
        "nequip.train.NequIPLightningModule": module,
        "nequip.train.EMALightningModule": module | names(EMALightningModule.__init__),
        "nequip.model.NequIPGNNModel": (names(NequIPGNNModel, FullNequIPGNNModel) | builder) - made_by_it,
        "allegro.model.AllegroModel": (names(AllegroModel, FullAllegroModel) | builder) - made_by_it,
    }
    assert {target: set(known) for target, known in keys.KNOWN.items()} == actual
    assert [name for name in keys.LOGGERS if not hasattr(lightning.pytorch.loggers, name)] == []


# --- the data ---------------------------------------------------------------------------------------------------------


def test_nequip_reads_the_labels_and_a_missing_stress_counts_for_nothing(
    trained: tuple[Wire, Wire], data: Wire
) -> None:
    from hydra.utils import instantiate
    from nequip.utils.global_state import set_global_state

    set_global_state()  # NequIP's data are of double precision once this is called, as its commands do
    folder = Path(trained[0]["workdir"])
    table = json.loads((folder / files.CONFIG).read_text())["data"]
    where = {f"{ours}_file_path": str(folder / f"{name}.xyz") for ours, name in (("train", "train"), ("val", "valid"))}
    module = instantiate({**table, **where}, _recursive_=False)
    module.setup("fit")
    (read,) = module.train_dataset
    originals = data["frames"][2:14]
    assert len(read) == len(originals) == 12
    for frame, atoms in zip((read[i] for i in range(12)), originals, strict=True):
        assert frame["total_energy"].item() == pytest.approx(atoms.get_potential_energy(), abs=1e-7)
        assert frame["forces"].tolist() == [pytest.approx(row, abs=1e-7) for row in atoms.get_forces().tolist()]
        stress = frame["stress"].reshape(3, 3)
        if "stress" in atoms.calc.results:
            assert stress.tolist() == [pytest.approx(row, abs=1e-8) for row in atoms.get_stress(voigt=False).tolist()]
        else:
            assert bool(stress.isnan().all())


def test_frames_that_count_more_are_refused(data: Wire, tmp_path: Path) -> None:
    text = Path(data["train"]).read_text()
    (tmp_path / "one.xyz").write_text(text.replace(" energy=", " config_weight=1.0 energy="))
    assert training_data.copy(tmp_path / "one.xyz", tmp_path / "out.xyz") == training_data.Counts(12, 4)
    (tmp_path / "two.xyz").write_text(text.replace(" energy=", " config_weight=2 energy="))
    with pytest.raises(Fatal, match="config_weight=2") as caught:
        training_data.copy(tmp_path / "two.xyz", tmp_path / "out.xyz")
    assert caught.value.exit_code == 65


def test_an_average_is_a_fit_to_the_elements(data: Wire) -> None:
    found = training_data.average_energies(Path(data["valid"]), ["Au", "Cu"])
    for atoms in data["frames"][-4:]:
        total = sum(found[symbol] for symbol in atoms.symbols)
        assert total == pytest.approx(atoms.get_potential_energy(), abs=3.0)


# --- training ---------------------------------------------------------------------------------------------------------


def test_what_a_training_returns(trained: tuple[Wire, Wire], data: Wire) -> None:
    job, result = trained
    assert result["elements"] == ["Au", "Cu"]
    assert (result["cutoff"], result["dtype"], result["finished"]) == (4.0, "float64", True)
    assert result["trainer"].startswith("nequip 0.")
    assert result["atomic_energies"] == pytest.approx(data["summary"]["e0s"], abs=1e-12)
    assert [Path(p).name for p in result["weights"]] == ["model.nequip.zip"]
    assert all(Path(p).is_file() for p in result["logs"])
    epochs = nequip.progress(Path(job["workdir"]))
    assert [e["epoch"] for e in epochs] == list(range(8))
    assert all(math.isfinite(e["loss"]) and e["rmse_stress_meV_per_A3"] > 0 for e in epochs)
    assert result["metrics"] == min(epochs, key=lambda e: float(e["valid_loss"]))
    recorded = result["configuration"]
    assert recorded == json.loads((Path(job["workdir"]) / files.CONFIG).read_text()), "what the trainer has read"
    assert (recorded["data"]["seed"], recorded["trainer"]["accelerator"]) == (5, "cpu")


def test_the_metrics_are_the_model_s_errors_on_the_validation_data(
    trained: tuple[Wire, Wire], member: str, data: Wire
) -> None:
    import numpy as np

    frames = data["frames"][-4:]
    predicted = nequip.predict([wire(a) for a in frames], [member], CONTEXT)[0]
    forces = np.concatenate([np.subtract(p["forces"], a.get_forces()) for p, a in zip(predicted, frames, strict=True)])
    stress = [np.subtract(p["stress"], a.get_stress())[[0, 1, 2, 3, 3, 4, 4, 5, 5]]
              for p, a in zip(predicted, frames, strict=True) if "stress" in a.calc.results]  # fmt: skip
    energy = [(p["energy"] - a.get_potential_energy()) / len(a) for p, a in zip(predicted, frames, strict=True)]
    metrics = trained[1]["metrics"]
    assert 0 < len(stress) < 4
    assert 1e3 * np.sqrt(np.mean(np.square(energy))) == pytest.approx(metrics["rmse_e_meV_per_atom"], rel=1e-6)
    assert 1e3 * np.sqrt(np.mean(np.square(forces))) == pytest.approx(metrics["rmse_f_meV_per_A"], rel=1e-6)
    assert 1e3 * np.sqrt(np.mean(np.square(stress))) == pytest.approx(metrics["rmse_stress_meV_per_A3"], rel=1e-6)


@pytest.mark.full
def test_the_trainer_s_own_command_gives_the_same_model(trained: tuple[Wire, Wire], tmp_path: Path) -> None:
    source = Path(trained[0]["workdir"])
    for name in ("train.xyz", "valid.xyz"):
        (tmp_path / name).write_bytes((source / name).read_bytes())
    config = json.loads((source / files.CONFIG).read_text())
    keeper = {"_target_": "lightning.pytorch.callbacks.ModelCheckpoint", "dirpath": "there", "filename": "best"}
    config["trainer"]["callbacks"].append({**keeper, "monitor": "val0_epoch/weighted_sum"})
    (tmp_path / files.CONFIG).write_text(json.dumps(config))
    command = [sys.executable, "-m", "nequip.scripts.train", "-cn", "nequip", "hydra.run.dir=hydra"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        assert same(weights("there/best.ckpt"), weights(trained[1]["weights"][0]))
    finally:
        os.chdir(before)


USERS = """
cutoff: 4.0
run: [train]
data:
  train_dataloader: {_target_: torch.utils.data.DataLoader, batch_size: 3, shuffle: true}
  val_dataloader: {_target_: torch.utils.data.DataLoader, batch_size: 4}
  stats_manager: {_target_: nequip.data.CommonDataStatisticsManager, type_names: [Au, Cu]}
  transforms:
    - {_target_: nequip.data.transforms.ChemicalSpeciesToAtomTypeMapper, model_type_names: [Au, Cu]}
    - {_target_: nequip.data.transforms.NeighborListTransform, r_max: "${cutoff}"}
    - {_target_: nequip.data.transforms.AddNaNStressTransform}
trainer:
  _target_: lightning.Trainer
  max_epochs: 3
  logger: {_target_: lightning.pytorch.loggers.CSVLogger, save_dir: csv}
  callbacks:
    - {_target_: lightning.pytorch.callbacks.ModelCheckpoint, dirpath: there, filename: best,
       monitor: val0_epoch/weighted_sum}
training_module:
  _target_: nequip.train.NequIPLightningModule
  loss: {_target_: nequip.train.EnergyForceLoss, per_atom_energy: true, coeffs: {total_energy: 1.0, forces: 1.0}}
  val_metrics: {_target_: nequip.train.EnergyForceMetrics, coeffs: {total_energy_rmse: 1.0, forces_rmse: 1.0}}
  optimizer: {_target_: torch.optim.Adam, lr: 1e-3}
  model:
    r_max: ${cutoff}
    avg_num_neighbors: ${training_data_stats:num_neighbors_mean}
    model_dtype: float64
    l_max: 1
    num_layers: 2
    per_type_energy_scales: ${training_data_stats:forces_rms}
    _target_: """
MODELS = {
    "nequip": "nequip.model.NequIPGNNModel\n    num_features: 4\n    radial_mlp_width: 8\n",
    "allegro": (
        "allegro.model.AllegroModel\n    num_scalar_features: 8\n    num_tensor_features: 2\n"
        "    radial_chemical_embed: {_target_: allegro.nn.TwoBodyBesselScalarEmbed, num_bessels: 4}\n"
    ),
}


@pytest.mark.full
@pytest.mark.parametrize("family", ["nequip", "allegro"])
def test_a_configuration_trains_as_nequip_s_own_command(data: Wire, tmp_path: Path, family: str) -> None:
    import torch

    module, energies = registry.load("models", family), data["summary"]["e0s"]
    ours, alone = tmp_path / "ours", tmp_path / "alone"
    for folder in (ours, alone):
        folder.mkdir()
        (folder / "user.yaml").write_text(USERS + MODELS[family])
    planned = module.plan(read(str(ours / "user.yaml")).table, {}, {**data["summary"], "as_given": True})
    job = {"workdir": str(ours), "train": data["train"], "valid": data["valid"], "config": planned, "seed": 5}
    result = module.train(job, CONTEXT)
    for name in ("train.xyz", "valid.xyz"):
        (alone / name).write_bytes((ours / name).read_bytes())
    shifts = ",".join(f"{symbol}:{float(energy)!r}" for symbol, energy in energies.items())
    own = {
        "data._target_": "nequip.data.datamodule.ASEDataModule", "data.seed": 5, "training_module.model.seed": 5,
        "data.train_file_path": "train.xyz", "data.val_file_path": "valid.xyz", "trainer.accelerator": "cpu",
        "trainer.devices": 1, "training_module.model.type_names": "[Au,Cu]",
        "training_module.model.per_type_energy_shifts": f"{{{shifts}}}",
    }  # fmt: skip
    words = [f"+{key}={value}" for key, value in own.items()]
    command = [sys.executable, "-m", "nequip.scripts.train", "-cn", "user", "hydra.run.dir=hydra", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    subprocess.run(command, cwd=alone, env=environment, check=True, capture_output=True)
    first, second = (torch.load(folder / "there/best.ckpt", weights_only=False) for folder in (ours, alone))
    for part in ("data", "trainer", "training_module"):  # with all interpolations resolved
        assert first["hyper_parameters"]["info_dict"][part] == second["hyper_parameters"]["info_dict"][part]
    tensors = [{k: v for k, v in each["state_dict"].items() if torch.is_tensor(v)} for each in (first, second)]
    assert len(tensors[0]) > 5
    assert same(*tensors)
    tables = [next(folder.glob("csv/**/metrics.csv")).read_text() for folder in (ours, alone)]
    assert tables[0] == tables[1]
    recorded = result["configuration"]
    assert recorded["training_module"]["optimizer"] == {"_target_": "torch.optim.Adam", "lr": 0.001}
    assert recorded["data"]["train_file_path"] == "train.xyz"


WORKER = """
import json, sys
from psiflow_cli.models import nequip
nequip.train(**json.load(open(sys.argv[1])))
"""


def test_killed_at_any_epoch_it_ends_with_the_same_weights(trained: tuple[Wire, Wire], tmp_path: Path) -> None:
    job = {**trained[0], "workdir": str(tmp_path / "work")}
    (tmp_path / "payload.json").write_text(json.dumps({"job": job, "context": CONTEXT}))
    lines = tmp_path / "work" / files.EPOCHS
    worker = subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path / "payload.json")])
    deadline = time.monotonic() + 120
    while len(nequip.progress(tmp_path / "work")) < 5 and time.monotonic() < deadline:
        time.sleep(0.002)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    time.sleep(0.3)  # the trainer dies with the worker, before it writes another epoch
    before = [e["epoch"] for e in nequip.progress(tmp_path / "work")]
    assert 5 <= len(before) < 8, "the test was too slow to interrupt the training"
    with lines.open("a") as file:
        file.write('{"epoch": 9, "lo')  # torn by the kill
    again = nequip.train(job, CONTEXT)
    saved = [json.loads(line)["epoch"] for line in lines.read_text().splitlines()]
    assert sorted(set(saved)) == list(range(8))
    assert len(saved) <= 8 + 1
    assert same(weights(again["weights"][0]), weights(trained[1]["weights"][0]))
    assert nequip.progress(tmp_path / "work") == nequip.progress(Path(trained[0]["workdir"]))
    assert again["metrics"] == trained[1]["metrics"]


def test_a_training_stops_by_itself_and_delivers_the_best_so_far(data: Wire, tmp_path: Path) -> None:
    job = make_job(data, tmp_path, {**TINY, "max_epochs": 5000})
    first = nequip.train({**job, "seconds": 0.1}, CONTEXT)  # one epoch is always trained
    assert (first["finished"], first["epoch"]) == (False, 0)
    member = str(Path(first["weights"][0]).parent)
    assert "forces" in nequip.predict([wire(data["frames"][3])], [member], CONTEXT)[0][0]
    second = nequip.train({**job, "seconds": 0.1}, CONTEXT)  # no time for another: what there is, is delivered again
    assert (second["finished"], second["metrics"]) == (False, first["metrics"])
    assert [e["epoch"] for e in nequip.progress(tmp_path)] == [0]


@pytest.mark.full
def test_the_best_model_is_there_in_time(data: Wire, tmp_path: Path) -> None:
    job = make_job(data, tmp_path, {**TINY, "max_epochs": 5000})
    start = time.monotonic()
    result = nequip.train({**job, "seconds": 40.0}, CONTEXT)
    assert time.monotonic() - start < 40
    assert result["finished"] is False
    assert 1 < len(nequip.progress(tmp_path)) < 5000


def test_init_begins_with_the_given_weights(
    data: Wire, trained: tuple[Wire, Wire], member: str, tmp_path: Path
) -> None:
    job = make_job(data, tmp_path, {"max_epochs": 1, "batch_size": 3, "lr": 1e-12}, init=trained[0]["config"])
    job["init"] = member
    tuned = nequip.train(job, CONTEXT)
    assert (tuned["cutoff"], tuned["dtype"], tuned["elements"]) == (4.0, "float64", ["Au", "Cu"])
    assert tuned["atomic_energies"] == trained[1]["atomic_energies"]
    built = settings.architecture(tuned["configuration"])  # for another training that starts from this one
    assert (built["num_features"], built["r_max"], built["type_names"]) == (4, 4.0, ["Au", "Cu"])
    assert tuned["configuration"]["training_module"]["model"]["_target_"] == "nequip.model.modify"
    assert tuned["metrics"]["rmse_f_meV_per_A"] == pytest.approx(trained[1]["metrics"]["rmse_f_meV_per_A"], rel=1e-5)
    assert [e["epoch"] for e in nequip.progress(tmp_path)] == [0]
    with pytest.raises(Fatal, match="walltime") as caught:  # another seed: nothing of the first training is used
        nequip.train({**job, "seed": 6}, {**CONTEXT, "walltime": 0.1})
    assert caught.value.exit_code == 75
    assert nequip.progress(tmp_path) == []
    assert not list(tmp_path.glob("weights/*"))


@pytest.mark.full
def test_init_from_a_checkpoint_with_other_atomic_energies(
    data: Wire, trained: tuple[Wire, Wire], tmp_path: Path
) -> None:
    checkpoint = Path(trained[0]["workdir"]) / files.BEST
    job = make_job(data, tmp_path, {"max_epochs": 1, "batch_size": 3, "lr": 1e-12}, init={}, e0s={"Au": 1.0, "Cu": 2.0})
    tuned = nequip.train({**job, "init": str(checkpoint)}, CONTEXT)
    assert tuned["atomic_energies"] == {"Au": 1.0, "Cu": 2.0}
    assert tuned["metrics"]["rmse_f_meV_per_A"] == pytest.approx(trained[1]["metrics"]["rmse_f_meV_per_A"], rel=1e-5)


@pytest.mark.full
@pytest.mark.parametrize(
    ("config", "message", "code"),
    [
        ({"optimizer": {"_target_": "torch.optim.Nadam", "lr": 0.1}}, "Nadam", 78),
        ({"max_epochs": 1, "lr": 1e200}, "diverged", 65),
    ],
)
def test_a_failed_training_says_why(data: Wire, tmp_path: Path, config: Wire, message: str, code: int) -> None:
    with pytest.raises(Fatal) as caught:
        nequip.train(make_job(data, tmp_path, {**TINY, **config}), CONTEXT)
    assert message in caught.value.message
    assert caught.value.exit_code == code
    assert len(caught.value.message.splitlines()) == 1


# --- predictions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2])  # one by one, and in batches
def test_predictions_are_those_of_nequip_s_calculator(
    trained: tuple[Wire, Wire], member: str, data: Wire, threads: int
) -> None:
    from ase import Atoms
    from nequip.integrations.ase import NequIPCalculator

    path = trained[1]["weights"][0]
    reference = NequIPCalculator._from_saved_model(path, chemical_species_to_atom_type_map=True)
    frames = [a.copy() for a in data["frames"]]  # periodic, clusters and single atoms, mixed
    frames.append(Atoms("Cu2", [[0, 0, 0], [0.3, 0.2, 2.4]], cell=[3.1, 3.2, 20], pbc=[True, True, False]))
    predicted = nequip.predict([wire(a) for a in frames], [member], {**CONTEXT, "threads": threads})[0]
    for atoms, label in zip(frames, predicted, strict=True):
        atoms.calc = reference
        assert label["energy"] == pytest.approx(atoms.get_potential_energy(), abs=1e-8)
        assert label["forces"] == [pytest.approx(row, abs=1e-8) for row in atoms.get_forces().tolist()]
        if atoms.pbc.all():
            assert label["stress"] == pytest.approx(atoms.get_stress().tolist(), abs=1e-10)
        else:
            assert label["stress"] is None


def test_another_precision_gives_nearly_the_same(member: str, data: Wire) -> None:
    frames = [wire(a) for a in data["frames"][2:6]]
    double = nequip.predict(frames, [member], CONTEXT)[0]
    single = nequip.predict(frames, [member], {**CONTEXT, "dtype": "float32"})[0]
    for one, two in zip(single, double, strict=True):
        assert 0 < abs(one["energy"] - two["energy"]) < 1e-4
        assert all(a == pytest.approx(b, abs=1e-4) for a, b in zip(one["forces"], two["forces"], strict=True))


def test_what_does_not_fit_into_memory_is_halved(member: str, data: Wire) -> None:
    frames = [wire(a) for a in data["frames"]]
    expected = nequip.predict(frames, [member], CONTEXT)[0]
    model = nequip.inference.loaded(member, CONTEXT)

    def small(batch: list[Wire], graphs: Any) -> list[Any]:
        if len(batch) > 3 or any(len(frame["symbols"]) == 8 for frame in batch):
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return model.forward(batch, graphs)

    tight = dataclasses.replace(model, forward=small, size=batch_size.BatchSize("cpu"))
    results = batches.predict(frames, [tight], {**CONTEXT, "threads": 2})[0]
    for frame, result, right in zip(frames, results, expected, strict=True):
        if len(frame["symbols"]) == 8:
            assert result["failure"] == "out-of-memory"
        elif "failure" not in result:
            assert result["energy"] == pytest.approx(right["energy"], abs=1e-9)
    assert sum("failure" in r for r in results) == 8


def test_a_folder_without_a_package_is_refused(data: Wire, tmp_path: Path) -> None:
    with pytest.raises(Fatal, match=r"0 files named \*.nequip.zip"):
        nequip.predict([wire(data["frames"][3])], [str(tmp_path)], CONTEXT)
