"""The process that trains: MACE's own `run_train` with psiflow's checkpoints, in the folder it is started in.

    python -m psiflow_cli.models.mace.trainer [UNTIL]

It reads `mace.yaml`, which `mace_run_train --config` takes as well, and delivers a model whenever an epoch is the best
so far, so that it is there whatever ends the training. It stops by itself early enough to be done by UNTIL (seconds
since 1970), if one epoch fits.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

from psiflow_cli.models.mace import atomic_energies, mace_internals
from psiflow_cli.models.mace.files import CONFIG, MODEL, MODELS, RESULTS
from psiflow_cli.models.mace.inference import describe
from psiflow_cli.models.mace.trainer import internals
from psiflow_cli.models.mace.trainer.checkpoints import Checkpoints
from psiflow_cli.worker.training import delivery
from psiflow_cli.worker.training.early_stopping import Stopping
from psiflow_cli.worker.training.growing_file import cut_torn_line

if TYPE_CHECKING:
    import torch

    from psiflow_cli.messages import ModelFacts, TrainerFacts


def main(until: float | None) -> int:
    """Train, or go on, and deliver the best weights."""
    import torch
    from mace.cli import run_train
    from mace.tools import build_default_arg_parser

    is_first = os.environ.get("RANK", "0") == "0"  # of the processes on several GPUs
    if is_first:
        for results in Path(RESULTS).glob("*_train.txt"):
            cut_torn_line(results)
    arguments = build_default_arg_parser().parse_args(["--config", CONFIG, "--restart_latest"])
    stopping = Stopping(until, arguments.patience)
    handlers: list[Checkpoints] = []

    def deliver(model: torch.nn.Module, epoch: int, stage: int) -> None:
        path = Path("checkpoints", MODEL)
        try:
            whole = internals.deliverable(model, arguments, next(model.parameters()).device)
            torch.save(whole, path)
        except Exception as error:  # the training is worth more: MACE itself makes the model at its end
            logging.warning("no model could be made of epoch %s: %s", epoch, error)
            return
        _deliver(path, mace_internals.description(whole), epoch, stage if arguments.swa else None)

    def handler(*given: str, **more: object) -> Checkpoints:
        handlers.append(Checkpoints(*given, **more, stopping=stopping, deliver=deliver))  # type: ignore[arg-type]
        return handlers[-1]

    atomic_energies.keep_in_float64()
    internals.replace_parts(handler, stopping)
    run_train.run(arguments)
    if is_first:
        trained = next(p for p in (Path(MODELS, "mace_stagetwo.model"), Path(MODELS, MODEL)) if p.is_file())
        last = handlers[-1]
        _deliver(trained, describe(trained), last.epoch, last.stage if arguments.swa else None, last.is_finished)
        shutil.rmtree(MODELS)
    return 0


def _deliver(path: Path, model: ModelFacts, epoch: int, stage: int | None, finished: bool = False) -> None:
    """Move a model file to where it is looked for, with its facts; `stage` is 0 or 1 where there are two."""
    from mace.__version__ import __version__

    facts = {**model, "trainer": f"mace-torch {__version__}", "epoch": epoch, "finished": finished}
    if stage is not None:
        facts["stage"] = stage + 1
    delivery.put(path, MODEL, cast("TrainerFacts", facts))


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else None))
