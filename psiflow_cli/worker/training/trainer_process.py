"""A trainer as a process of its own: in a folder that is for one training only, and judged by how it ends."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from psiflow_cli import atomic_file
from psiflow_cli.errors import BAD_DATA, STOPPED
from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.models import hardware
from psiflow_cli.worker.pool import openmp
from psiflow_cli.worker.process import inherited_variables, subprocesses
from psiflow_cli.worker.training import delivery, phase, stop_request, trainer_log

if TYPE_CHECKING:
    from psiflow_cli.messages import Context, Epoch, TrainedMember, TrainingJob

JOB = "job.json"
"""What the folder's training is of."""


@dataclass(frozen=True)
class Trainer:
    """A module for `python -m` that delivers its best model so far in the folder it is started in; see `delivery`."""

    module: str
    log: str
    leftovers: tuple[str, ...]
    """Folders and files that a training leaves, besides what it delivers."""
    causes: tuple[tuple[str, int, str], ...]
    """What a line of the log says of the cause of its failure: pattern, exit code, hint."""
    launcher: tuple[str, ...] = ()
    """What Python runs the module by where a task has `{gpus}`; none for a trainer that starts its own processes."""
    best: str = ""
    """The checkpoint that becomes a model when the module is started with no time (0); empty for a trainer that
    delivers a model whenever an epoch is the best so far."""
    delivery_s: float = 0.0
    """How long that start takes."""

    def train(
        self,
        job: TrainingJob,
        context: Context,
        init: Path | None,
        prepare: Callable[[Path, TrainingJob, Context], None],
        delivered: Callable[[Path], TrainedMember | None],
    ) -> TrainedMember:
        """*worker*: train in `job["workdir"]`, or go on after the last finished epoch; its logs are left to the caller.

        `init` is the file of the weights to begin with. When the time is up, or a stop is asked for, the trainer is
        ended as soon as there is a model, which may be that of an earlier run. Raises Fatal if no model can come of it,
        and with STOPPED if there is none yet and the same job would go on.
        """
        until = None if job.get("seconds") is None else time.time() + (job["seconds"] or 0.0) - self.delivery_s
        folder = Path(job["workdir"])
        folder.mkdir(parents=True, exist_ok=True)
        self._forget_other(folder, job, data(job) | ({"init": init} if init else {}))
        delivered_before = delivery.read(folder)
        if not (delivered_before and delivered_before["finished"]):
            phase.begin(folder, "preparing")
            prepare(folder, job, context)
            self._run(folder, context, until)
        result = delivered(folder)
        if result is None:
            raise Fatal("stopped before the first model was written", "run the same command again to continue", STOPPED)
        return result

    def _run(self, folder: Path, context: Context, until: float | None) -> None:
        """Run the trainer, and make a model of its best checkpoint where it left that undone."""

        def is_enough() -> bool:
            is_up = until is not None and time.time() > until
            has_model = (folder / self.best).is_file() if self.best else delivery.read(folder) is not None
            return stop_request.is_there(folder) or (is_up and has_model)

        if not is_enough():
            self._launch(folder, context, self.log, until, is_enough)
        if self.best and delivery.is_older(folder, folder / self.best):
            self._launch(folder, context, "delivery.log", 0.0)

    def _forget_other(self, folder: Path, job: TrainingJob, files: dict[str, Path]) -> None:
        """Start over where the folder holds a training of something else; what it holds is psiflow's own."""
        hashes = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
        identity = json.dumps({"config": job["config"], "seed": job["seed"], **hashes}, sort_keys=True)
        path = folder / JOB
        if path.is_file() and path.read_text() == identity:
            return
        path.unlink(missing_ok=True)
        for name in (delivery.FACTS, delivery.WEIGHTS, *self.leftovers):
            if (folder / name).is_dir():
                shutil.rmtree(folder / name, ignore_errors=True)
            else:
                (folder / name).unlink(missing_ok=True)
        atomic_file.write(path, identity)

    def _launch(
        self, folder: Path, context: Context, log: str, until: float | None, stop: Callable[[], bool] | None = None
    ) -> None:
        """Run it to its end, by `until` (seconds since 1970) if it can, or until `stop` says so.

        Raises Fatal if it failed, and with STOPPED if the walltime ended it.
        """
        gpus = hardware.gpus(context)
        launcher = [word.format(gpus=gpus) for word in self.launcher] if gpus > 1 else []
        outcome = subprocesses.run(
            [sys.executable, *launcher, "-m", self.module, *([] if until is None else [str(until)])],
            folder / log,
            cwd=folder,
            env=_environment(context),
            seconds=context.get("walltime"),
            memory=context.get("memory"),
            cpus=context.get("cpus"),
            stop=stop,
        )
        if outcome.stopped:
            return
        if outcome.timed_out:
            problem = "the walltime of the task ended before the first model was written"
            raise Fatal(problem, f"run the same command again to continue; its log: {folder / log}", STOPPED)
        if outcome.out_of_memory or outcome.returncode != 0:
            raise trainer_log.failure(folder / log, outcome, self.causes)


def delivered(folder: Path, epochs: list[Epoch], logs: Sequence[Path]) -> TrainedMember | None:
    """What a trainer has delivered, with the errors of that epoch among those that are finished; None: nothing yet.

    Raises Fatal, and keeps no weights, where no epoch's validation loss was a number.
    """
    losses = [epoch["valid_loss"] for epoch in epochs if "valid_loss" in epoch]
    if losses and not any(map(math.isfinite, losses)):
        (folder / delivery.FACTS).unlink(missing_ok=True)
        problem = "the training diverged: its loss is not a number"
        raise Fatal(problem, f"use a smaller lr, and check the labels; its logs: {folder}", BAD_DATA)
    facts = delivery.read(folder)
    if facts is None:
        return None
    metrics = [epoch for epoch in epochs if epoch["epoch"] == facts["epoch"]]
    result = {
        "weights": [str(folder / facts["file"])], "logs": [str(log) for log in logs],
        "metrics": metrics[0] if metrics else {},
    }  # fmt: skip
    return cast("TrainedMember", facts | result)


def data(job: TrainingJob) -> dict[str, Path]:
    """The training and the validation frames."""
    return {"train": Path(job["train"]), "valid": Path(job["valid"])}


def _environment(context: Context) -> dict[str, str]:
    """The worker's, with the threads of the task; without what Lightning takes for its own launcher's, as SLURM's."""
    threads = openmp.variables(hardware.threads(context))
    return {**inherited_variables.for_program(), **threads, **context.get("env", {})}
