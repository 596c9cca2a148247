"""The process that trains: MACE's own `run_train` with psiflow's checkpoints, in the folder it is started in.

    python -m psiflow_cli.models.mace.trainer [UNTIL]

It reads `mace.yaml`, which `mace_run_train --config` takes as well, and delivers a model whenever an epoch is the best
so far, so that it is there whatever ends the training. It stops by itself early enough to be done by UNTIL (seconds
since 1970), if one epoch fits.
"""

from __future__ import annotations

import copy
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
from psiflow_cli.models.mace.tuning import ARCHITECTURE
from psiflow_cli.worker.training import delivery
from psiflow_cli.worker.training.early_stopping import Stopping
from psiflow_cli.worker.training.growing_file import cut_torn_line

if TYPE_CHECKING:
    from argparse import Namespace

    import torch

    from psiflow_cli.messages import Config, ModelFacts, TrainerFacts


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
    given = _set_options(arguments)
    stopping = Stopping(until, arguments.patience)
    handlers: list[Checkpoints] = []

    def facts_of(model: ModelFacts) -> Config:
        return {**model, "configuration": _used(given, arguments)}

    def deliver(model: torch.nn.Module, epoch: int, stage: int) -> None:
        path = Path("checkpoints", MODEL)
        try:
            whole = internals.deliverable(model, arguments, next(model.parameters()).device)
            torch.save(whole, path)
        except Exception as error:  # the training is worth more: MACE itself makes the model at its end
            logging.warning("no model could be made of epoch %s: %s", epoch, error)
            return
        _deliver(path, facts_of(mace_internals.description(whole)), epoch, stage if arguments.swa else None)

    def handler(*given: str, **more: object) -> Checkpoints:
        handlers.append(Checkpoints(*given, **more, stopping=stopping, deliver=deliver))  # type: ignore[arg-type]
        return handlers[-1]

    atomic_energies.keep_in_float64()
    internals.replace_parts(handler, stopping)
    run_train.run(arguments)
    if is_first:
        trained = next(p for p in (Path(MODELS, "mace_stagetwo.model"), Path(MODELS, MODEL)) if p.is_file())
        last = handlers[-1]
        _deliver(
            trained, facts_of(describe(trained)), last.epoch, last.stage if arguments.swa else None, last.is_finished
        )
        shutil.rmtree(MODELS)
    return 0


def _deliver(path: Path, model: Config, epoch: int, stage: int | None, finished: bool = False) -> None:
    """Move a model file to where it is looked for, with its facts; `stage` is 0 or 1 where there are two."""
    from mace.__version__ import __version__

    facts = {**model, "trainer": f"mace-torch {__version__}", "epoch": epoch, "finished": finished}
    if stage is not None:
        facts["stage"] = stage + 1
    delivery.put(path, MODEL, cast("TrainerFacts", facts))


def _set_options(arguments: Namespace) -> Config:
    """All options with their values, MACE's own defaults included, less paths and what is not set."""
    from mace.tools import check_args

    as_given = vars(arguments)
    checked: Config = vars(check_args(copy.copy(arguments))[0])  # which fills in what follows from other options
    values = {key: checked[key] if _is_plain(checked[key]) else value for key, value in as_given.items()}
    return {key: value for key, value in values.items() if value is not None and not _is_path(key)}


def _used(set_options: Config, arguments: Namespace) -> Config:
    """The same after the training: MACE overrules some options, for which the value is recorded that it has used."""
    after = {key: value for key, value in vars(arguments).items() if _is_plain(value)}
    used = {key: value if key in _COMPUTED else after.get(key, value) for key, value in set_options.items()}
    if arguments.foundation_model is None:
        return used
    written = {line.partition(":")[0] for line in Path(CONFIG).read_text().splitlines()}
    # The model decides the architecture: MACE's own defaults of it are not used.
    return {key: value for key, value in used.items() if key not in ARCHITECTURE or key in written}


_COMPUTED = ("model", "mean", "std", "avg_num_neighbors")
"""Options that MACE overwrites with what it computes of the data, or names outside its own choices."""


def _is_path(option: str) -> bool:
    return option.endswith(("_dir", "_file")) or option in ("name", "config", "foundation_model", "restart_latest")


def _is_plain(value: object) -> bool:
    return isinstance(value, (bool, int, float, str))


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else None))
