"""A training as the worker sees it: prepare the folder, run the trainer, judge how it ended."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from psiflow_cli import atomic_file
from psiflow_cli.models.nequip import data, files, settings
from psiflow_cli.models.nequip.files import PACKAGE, describe, progress, weights_file
from psiflow_cli.models.nequip.nequip_internals import CAUSES
from psiflow_cli.worker.models import hardware
from psiflow_cli.worker.training import delivery, trainer_process
from psiflow_cli.worker.training.trainer_process import Trainer

if TYPE_CHECKING:
    from psiflow_cli.messages import Config, Context, TrainedMember, TrainingJob

_TRAINER = Trainer(
    module="psiflow_cli.models.nequip.trainer",
    log=files.LOG,
    leftovers=(files.CHECKPOINTS, files.EPOCHS, files.HYDRA, files.INIT),
    causes=CAUSES,
    best=files.BEST,
    delivery_s=20.0,
)


def train(job: TrainingJob, context: Context) -> TrainedMember:
    """*worker*: train in `job["workdir"]`, or go on after the last finished epoch; see `Trainer.train`."""
    init = weights_file(job["init"]) if job.get("init") else None
    return _TRAINER.train(job, _with_modules(job, context), init, _prepare, delivered)


def delivered(workdir: Path, latest: bool = True) -> TrainedMember | None:
    """The model that is ready in the folder of a training; see `protocols.Delivers`."""
    if latest and delivery.is_older(workdir, workdir / files.BEST):
        return None
    logs = [path for name in (files.LOG, files.CONFIG) if (path := workdir / name).is_file()]
    return trainer_process.delivered(workdir, progress(workdir), logs)


def _with_modules(job: TrainingJob, context: Context) -> Context:
    """The context whose Python finds the modules that the configuration names."""
    folders = {str(Path(path).parent) for name, path in job.get("files", {}).items() if not _is_data(name, path)}
    if not folders:
        return context
    paths = [*sorted(folders), context["env"].get("PYTHONPATH") or os.environ.get("PYTHONPATH", "")]
    return {**context, "env": {**context["env"], "PYTHONPATH": os.pathsep.join(filter(None, paths))}}


def _is_data(name: str, path: str) -> bool:
    """Whether a named file is none of Python's modules, which are named without their ending."""
    return Path(name).name == Path(path).name and not Path(path, "__init__.py").is_file()


def _recorded(read: Config, job: TrainingJob) -> Config:
    """What the trainer has read, but for a model to start from how that was built, as far as it is known."""
    if job.get("init") and read:
        start = read["training_module"]["model"]
        start["model"] = {"_target_": start["model"]["_target_"], **settings.model(job["config"])}
    names = {path: name for name, path in job.get("files", {}).items()}
    return cast("Config", _replaced(read, names))


def _replaced(value: object, names: dict[str, str]) -> object:
    """A configuration with other texts in the place of some."""
    if isinstance(value, dict):
        return {key: _replaced(each, names) for key, each in value.items()}
    if isinstance(value, list):
        return [_replaced(each, names) for each in value]
    return names.get(value, value) if isinstance(value, str) else value


def _prepare(folder: Path, job: TrainingJob, context: Context) -> None:
    """Write the data and the configuration: the plan with all that depends on where and on what it runs."""
    counts = {part: data.copy(path, folder / f"{part}.xyz") for part, path in trainer_process.data(job).items()}
    paths = {name: path for name, path in job.get("files", {}).items() if _is_data(name, path)}
    config = cast("Config", _replaced(copy.deepcopy(job["config"]), paths))
    model = settings.model(config)
    if model.get("per_type_energy_shifts") == "average":
        elements = cast("list[str]", settings.resolved(config, model["type_names"]))
        model["per_type_energy_shifts"] = data.average_energies(folder / "train.xyz", elements)
    model["seed"] = job["seed"]
    if job.get("init"):
        _start_from(config, weights_file(job["init"]), folder)
    _place(config, model, job["seed"], context, _with_nan(counts.values(), config["training_module"]))
    # JSON is YAML, and needs no package to write.
    (folder / files.CONFIG).write_text(json.dumps(config, indent=1) + "\n")
    (folder / files.RECORD).write_text(json.dumps(_recorded(config, job)))


def _with_nan(counts: Iterable[data.Counts], module: Config) -> bool:
    """Whether frames without a stress need one that is not a number, beside others or for what is computed of it."""
    with_stress = [(each.with_stress, each.frames) for each in counts]
    wanted = "stress" in json.dumps([module.get("loss"), module.get("val_metrics")]).lower()
    return any(some < every and (some or wanted) for some, every in with_stress)


def _place(config: Config, model: Config, seed: int, context: Context, with_nan: bool) -> None:
    """Where the data are, and what they run on."""
    table = config["data"]
    transforms = "nequip.data.transforms"
    neighbours = {"_target_": f"{transforms}.NeighborListTransform", "r_max": model["r_max"]}
    if model.get("per_edge_type_cutoff"):
        neighbours |= {key: model[key] for key in ("per_edge_type_cutoff", "type_names")}
    species = {"_target_": f"{transforms}.ChemicalSpeciesToAtomTypeMapper", "model_type_names": model["type_names"]}
    asked = cast("list[Config] | None", settings.resolved(config, table.get("transforms")))
    own = asked or [species, neighbours]
    if (with_nan or not asked) and not any(each["_target_"].endswith("AddNaNStressTransform") for each in own):
        # Frames without stress among others; a frame that lacks what another has cannot be in its batch.
        own = [*own, {"_target_": f"{transforms}.AddNaNStressTransform"}]
    table |= {"seed": seed, "train_file_path": "train.xyz", "val_file_path": "valid.xyz", "transforms": own}
    gpus = hardware.gpus(context)
    config["trainer"] |= {"accelerator": "gpu" if gpus else "cpu", "devices": gpus or 1}
    if gpus > 1:
        config["trainer"].setdefault("strategy", {"_target_": "nequip.train.SimpleDDPStrategy"})


def _start_from(config: Config, weights: Path, folder: Path) -> None:
    """Put the model to start from in the place of the one to build, with the atomic energies of the plan.

    Its file is copied: NequIP looks for it again wherever it opens a checkpoint of this training.
    """
    is_package = weights.name.endswith(PACKAGE)
    own = folder / files.INIT / f"model{PACKAGE if is_package else weights.suffix}"
    own.parent.mkdir(exist_ok=True)
    atomic_file.write(own, weights.read_bytes())
    old, model = describe(own), settings.model(config)
    kind, key = ("Package", "package_path") if is_package else ("Checkpoint", "checkpoint_path")
    start: Config = {"_target_": f"nequip.model.ModelFrom{kind}", key: str(own.relative_to(folder))}
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
