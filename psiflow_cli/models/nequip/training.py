"""A training as the worker sees it: prepare the folder, run the trainer, judge how it ended."""

from __future__ import annotations

import copy
import json
import shutil
import time
from pathlib import Path
from typing import Any

from psiflow_cli.models.nequip import data, files, settings
from psiflow_cli.models.nequip.progress import progress
from psiflow_cli.models.nequip.weights import PACKAGE, describe, weights_file
from psiflow_cli.worker.models.trainer_process import Trainer

Wire = dict[str, Any]

_TRAINER = Trainer(
    module="psiflow_cli.models.nequip.trainer",
    log=files.LOG,
    weights=files.WEIGHTS,
    facts=files.FACTS,
    leftovers=(files.CHECKPOINTS, files.EPOCHS, files.HYDRA, str(Path(files.WEIGHTS).parent), files.INIT),
    causes=(
        (r"No module named", 78, "install nequip in the worker's environment: psiflow env create nequip"),
        (r"TypeError|ConfigKeyError|InterpolationKeyError|Error locating target|ConfigAttributeError", 78,
         "see NequIP's documentation of the configuration for what it takes"),
        (r"Got an atomic number as input|chemical species", 65, "the model does not know an element of the data"),
        (r"ase\.io|XYZError|could not convert", 65, "check the training data: psiflow check"),
        (r"CUDA|cuda|NVIDIA|MisconfigurationException", 69, "check the GPU and the torch build of the environment"),
    ),
)  # fmt: skip


def train(job: Wire, context: Wire) -> Wire:
    """*worker*: train in `job["workdir"]`, or go on after the last finished epoch; see `protocols.Model.train`.

    `job["init"]`, where there is one, is the folder of the weights to begin with, or a file of them. Besides what the
    seam asks for, returns `logs` (paths) and `metrics` (of the epoch whose weights these are). Raises Fatal if no model
    can come of it, and with exit code 75 if the time was up before the first epoch and the same job would go on.
    """
    until = None if job.get("seconds") is None else time.time() + job["seconds"]
    folder = Path(job["workdir"])
    folder.mkdir(parents=True, exist_ok=True)
    named = {name: Path(job[name]) for name in ("train", "valid")}
    _TRAINER.forget_other(folder, job, {**named, **({"init": weights_file(job["init"])} if job.get("init") else {})})
    if not _TRAINER.is_finished(folder):
        _prepare(folder, job, context)
        _TRAINER.launch(folder, context, until, (epoch["epoch"] for epoch in progress(folder)))
        _TRAINER.check_converged(folder, progress(folder))
    done = progress(folder)
    facts = json.loads((folder / files.FACTS).read_text())
    metrics = next((epoch for epoch in done if epoch["epoch"] == facts["epoch"]), {})
    logs = [str(folder / name) for name in (files.LOG, files.CONFIG)]
    return {**facts, "weights": [str(folder / files.WEIGHTS)], "logs": logs, "metrics": metrics}


def _prepare(folder: Path, job: Wire, context: Wire) -> None:
    """Write the data and the configuration: the plan with all that depends on where and on what it runs."""
    counts = {name: data.copy(Path(job[name]), folder / f"{name}.xyz") for name in ("train", "valid")}
    config = copy.deepcopy(job["config"])
    model = settings.model(config)
    if model.get("per_type_energy_shifts") == "average":
        elements = settings.resolved(config, model["type_names"])
        model["per_type_energy_shifts"] = data.average_energies(folder / "train.xyz", elements)
    model["seed"] = job["seed"]
    if job.get("init"):
        _start_from(config, weights_file(job["init"]), folder)
    _place(config, model, job["seed"], context)
    coefficients = settings.get(config, "training_module.val_metrics.coeffs")
    if not counts["valid"].with_stress and isinstance(coefficients, dict) and "stress_rmse" in coefficients:
        coefficients["stress_rmse"] = None  # the mean over no frame is not a number, and would be the best of none
    # JSON is YAML, and needs no package to write.
    (folder / files.CONFIG).write_text(json.dumps(config, indent=1) + "\n")


def _place(config: Wire, model: Wire, seed: int, context: Wire) -> None:
    """Where the data are, and what they run on."""
    table = config["data"]
    transforms = "nequip.data.transforms"
    neighbours = {"_target_": f"{transforms}.NeighborListTransform", "r_max": model["r_max"]}
    if model.get("per_edge_type_cutoff"):
        neighbours |= {key: model[key] for key in ("per_edge_type_cutoff", "type_names")}
    species = {"_target_": f"{transforms}.ChemicalSpeciesToAtomTypeMapper", "model_type_names": model["type_names"]}
    given = settings.resolved(config, table.get("transforms")) or [species, neighbours]
    if not any(each["_target_"].endswith("AddNaNStressTransform") for each in given):
        # Frames without stress among others; a frame that lacks what another has cannot be in its batch.
        given = [*given, {"_target_": f"{transforms}.AddNaNStressTransform"}]
    table |= {"seed": seed, "train_file_path": "train.xyz", "val_file_path": "valid.xyz", "transforms": given}
    gpus = int(context.get("gpus") or 1)
    on_gpu = (context.get("device") or "cpu") != "cpu"
    config["trainer"] |= {"accelerator": "gpu" if on_gpu else "cpu", "devices": gpus if on_gpu else 1}
    if on_gpu and gpus > 1:
        config["trainer"].setdefault("strategy", {"_target_": "nequip.train.SimpleDDPStrategy"})


def _start_from(config: Wire, weights: Path, folder: Path) -> None:
    """Put the model to start from in the place of the one to build, with the atomic energies of the plan.

    Its file is copied: NequIP looks for it again wherever it opens a checkpoint of this training.
    """
    is_package = weights.name.endswith(PACKAGE)
    own = folder / files.INIT / f"model{PACKAGE if is_package else weights.suffix}"
    own.parent.mkdir(exist_ok=True)
    temporary = own.with_name(own.name + ".tmp")
    shutil.copyfile(weights, temporary)
    temporary.replace(own)
    old, model = describe(str(own)), settings.model(config)
    kind, key = ("Package", "package_path") if is_package else ("Checkpoint", "checkpoint_path")
    start: Wire = {"_target_": f"nequip.model.ModelFrom{kind}", key: str(own.relative_to(folder))}
    start |= {name: model[name] for name in ("compile_mode",) if name in model}
    shifts = model.get("per_type_energy_shifts")
    energies = shifts if isinstance(shifts, dict) else old["atomic_energies"]
    modifier = {"modifier": "modify_PerTypeScaleShift", "shifts": energies}
    modifier |= {
        f"{name}_trainable": model.get(f"per_type_energy_{name}_trainable", False) for name in ("scales", "shifts")
    }
    config["training_module"]["model"] = {"_target_": "nequip.model.modify", "modifiers": [modifier], "model": start}
    model |= {"type_names": old["elements"], "r_max": old["cutoff"]}
    stats = config["data"].get("stats_manager")
    if isinstance(stats, dict):
        stats["type_names"] = old["elements"]
