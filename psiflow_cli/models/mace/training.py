"""A training as the worker sees it: prepare the folder, run the trainer, judge how it ended."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from psiflow_cli.models.mace.files import CONFIG, FACTS, JOB, LOG, MODELS, RESULTS, WEIGHTS
from psiflow_cli.models.mace.inference import weights_file
from psiflow_cli.models.mace.labels import relabel
from psiflow_cli.models.mace.options import FLAGS
from psiflow_cli.models.mace.progress import progress
from psiflow_cli.worker import subprocesses
from psiflow_cli.worker.guard import Fatal

Wire = dict[str, Any]

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def train(job: Wire, context: Wire) -> Wire:
    """*worker*: train in `job["workdir"]`, or go on after the last finished epoch; see `seams.Model.train`.

    `job["init"]`, where there is one, is the folder of the weights to begin with, or a file of them. Besides what the
    seam asks for, returns `logs` (paths) and `metrics` (of the epoch whose weights these are). Raises Fatal if no model
    can come of it, and with exit code 75 if the time was up before the first epoch and the same job would go on.
    """
    until = None if job.get("seconds") is None else time.time() + job["seconds"]
    folder = Path(job["workdir"])
    folder.mkdir(parents=True, exist_ok=True)
    _forget_other(folder, job)
    if not _is_finished(folder):
        _prepare(folder, job, context)
        _launch(folder, context, until)
    done = progress(folder)
    facts = json.loads((folder / FACTS).read_text())
    metrics = next((epoch for epoch in done if epoch["epoch"] == facts["epoch"]), {})
    logs = [str(path) for path in (*sorted(folder.glob("logs/*[0-9].log")), folder / CONFIG)]
    return {**facts, "weights": [str(folder / WEIGHTS)], "logs": logs, "metrics": metrics}


def _is_finished(folder: Path) -> bool:
    """Whether an earlier run trained to the end; what one that ran out of time delivered is removed."""
    if not (folder / WEIGHTS).is_file():
        return False
    if json.loads((folder / FACTS).read_text())["finished"]:
        return True
    (folder / WEIGHTS).unlink()
    return False


def _forget_other(folder: Path, job: Wire) -> None:
    """Start over where the folder holds a training of something else; what it holds is psiflow's own."""
    files = {name: Path(job[name]) for name in ("train", "valid")}
    if job.get("init"):
        files["init"] = weights_file(job["init"])
    same = {key: job[key] for key in ("config", "seed")}
    same |= {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    identity, path = json.dumps(same, sort_keys=True), folder / JOB
    if path.is_file() and path.read_text() == identity:
        return
    path.unlink(missing_ok=True)
    for name in ("checkpoints", RESULTS, "logs", MODELS, str(Path(WEIGHTS).parent)):
        shutil.rmtree(folder / name, ignore_errors=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(identity)
    temporary.replace(path)


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
    config.setdefault("default_dtype", context.get("dtype") or "float64")
    # A JSON value on each line is YAML, and needs no package to write.
    (folder / CONFIG).write_text("".join(f"{key}: {json.dumps(config[key])}\n" for key in sorted(config)))


def _launch(folder: Path, context: Wire, until: float | None) -> None:
    threads = str(context.get("threads") or context.get("cores") or 1)
    outcome = subprocesses.run(
        [sys.executable, "-m", "psiflow_cli.models.mace.trainer", *([] if until is None else [str(until)])],
        folder / LOG,
        cwd=folder,
        env={**os.environ, **dict.fromkeys(_THREADS, threads), **context.get("env", {})},
        seconds=context.get("walltime"),
        memory=context.get("memory"),
        cpus=context.get("cpus"),
    )
    if outcome.timed_out:
        reached = len(progress(folder))
        raise Fatal(
            f"the walltime of the task was up after {reached} epochs", "run the same command again to go on", 75
        )
    if outcome.out_of_memory or outcome.returncode != 0:
        raise _failure(folder / LOG, outcome)
    done = progress(folder)
    if done and not any(math.isfinite(epoch["valid_loss"]) for epoch in done):
        (folder / WEIGHTS).unlink()
        raise Fatal("the training diverged: its loss is not a number", "use a smaller lr, and check the labels", 65)


# What a line of the log says of the cause: pattern, exit code, hint.
_CAUSES = (
    (r"out of memory|can't allocate memory|MemoryError", 69, "use a smaller batch_size or model, or more memory"),
    (r"No module named", 78, "install mace-torch in the worker's environment: psiflow env create mace"),
    (r"error: (argument|unrecognized|ambiguous)", 78, "see `mace_run_train --help` for what the option takes"),
    (r"Atomic number|E0s|in list$", 65, "give an energy for every element of the training and validation data"),
    (r"not found in|could not convert|ase\.io|XYZ", 65, "check the training data: psiflow check"),
    (r"CUDA|cuda|NVIDIA", 69, "check the GPU and the torch build of the worker's environment"),
)


def _failure(log: Path, outcome: subprocesses.Outcome) -> Fatal:
    """The last line of the log that says something, and what to do about it."""
    if outcome.out_of_memory:
        return Fatal("the trainer needed more memory than the task has", f"{_CAUSES[0][2]}; its log: {log}", 69)
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    telling = [line.strip() for line in lines if re.match(r"\S*(Error|Exception|Interrupt)\b.*|\S+: error: ", line)]
    if not telling:
        how = f"signal {-outcome.returncode}" if outcome.returncode < 0 else f"exit code {outcome.returncode}"
        # A training that runs out of the node's memory is killed by the kernel.
        text = f"the trainer was killed or ended without a word ({how})"
        return Fatal(text, f"its log: {log}", 69 if outcome.returncode == -9 else 70)
    for pattern, code, hint in _CAUSES:
        if re.search(pattern, telling[-1]):
            return Fatal(f"the trainer failed: {telling[-1][:300]}", f"{hint}; its log: {log}", code)
    return Fatal(f"the trainer failed: {telling[-1][:300]}", f"its log: {log}", 70)
