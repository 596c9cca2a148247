"""A training as the worker sees it: prepare the folder, run the trainer, judge how it ended."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from psiflow_cli.models.mace.files import CONFIG, FACTS, LOG, MODELS, RESULTS, WEIGHTS
from psiflow_cli.models.mace.inference import weights_file
from psiflow_cli.models.mace.labels import relabel
from psiflow_cli.models.mace.options import FLAGS
from psiflow_cli.models.mace.progress import progress
from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.models import trainer_process
from psiflow_cli.worker.models.trainer_process import Trainer

Wire = dict[str, Any]

_TRAINER = Trainer(
    module="psiflow_cli.models.mace.trainer",
    log=LOG,
    weights=WEIGHTS,
    facts=FACTS,
    leftovers=("checkpoints", RESULTS, "logs", MODELS, str(Path(WEIGHTS).parent)),
    causes=(
        (r"No module named", 78, "install mace-torch in the worker's environment: psiflow env create mace"),
        (r"error: (argument|unrecognized|ambiguous)", 78, "see `mace_run_train --help` for what the option takes"),
        (r"Atomic number|E0s|in list$", 65, "give an energy for every element of the training and validation data"),
        (r"not found in|could not convert|ase\.io|XYZ", 65, "check the training data: psiflow check"),
        (r"CUDA|cuda|NVIDIA", 69, "check the GPU and the torch build of the worker's environment"),
    ),
    launcher=("-m", "torch.distributed.run", "--standalone", "--nproc_per_node={gpus}"),
)


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
    facts = json.loads((folder / FACTS).read_text())
    metrics = next((epoch for epoch in done if epoch["epoch"] == facts["epoch"]), {})
    logs = [str(path) for path in (*sorted(folder.glob("logs/*[0-9].log")), folder / CONFIG)]
    return {**facts, "weights": [str(folder / WEIGHTS)], "logs": logs, "metrics": metrics}


def _prepare(folder: Path, job: Wire, context: Wire) -> None:
    """Write the data and the configuration: the plan with all that depends on where and on what it runs."""
    frames = {name: relabel(Path(job[name]), folder / f"{name}.xyz") for name in ("train", "valid")}
    for name, count in frames.items():
        if not count:
            raise Fatal(f"{job[name]}: no frames besides isolated atoms", "give labelled frames", 65)
    config = {key: value for key, value in job["config"].items() if key not in FLAGS or value}
    if job.get("init"):
        config |= {"foundation_model": str(weights_file(job["init"])), "multiheads_finetuning": False}
    config |= {
        "name": "mace",
        "work_dir": ".",
        "model_dir": MODELS,
        "train_file": "train.xyz",
        "valid_file": "valid.xyz",
        "energy_key": "REF_energy",
        "forces_key": "REF_forces",
        "stress_key": "REF_stress",
        "batch_size": min(config.get("batch_size", 10), frames["train"]),
        "seed": job["seed"],
        "device": context.get("device") or "cpu",
    }
    if trainer_process.on_gpus(context) > 1:
        config |= {"distributed": True, "launcher": "torchrun"}
    config.setdefault("default_dtype", context.get("dtype") or "float64")
    # A JSON value on each line is YAML, and needs no package to write.
    (folder / CONFIG).write_text("".join(f"{key}: {json.dumps(config[key])}\n" for key in sorted(config)))
