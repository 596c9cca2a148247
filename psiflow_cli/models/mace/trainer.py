"""The process that trains: MACE's own `run_train` with psiflow's checkpoints, in the folder it is started in.

    python -m psiflow_cli.models.mace.trainer [UNTIL]

It reads `mace.yaml`, which `mace_run_train --config` takes as well, and leaves `weights/mace.model` and `facts.json`,
by UNTIL (seconds since 1970) at the latest if one epoch fits.
"""

from __future__ import annotations

import copy
import functools
import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli.models.mace.checkpoints import Checkpoints
from psiflow_cli.models.mace.files import CONFIG, FACTS, MODELS, RESULTS, WEIGHTS
from psiflow_cli.models.mace.inference import describe
from psiflow_cli.models.mace.mace_internals import replace_parts
from psiflow_cli.models.mace.tuning import ARCHITECTURE
from psiflow_cli.worker.training.early_stopping import Stopping
from psiflow_cli.worker.training.growing_file import cut_torn_line

if TYPE_CHECKING:
    from argparse import Namespace

    from psiflow_cli.messages import Config, TrainerFacts


def main(until: float | None) -> int:
    """Train, or go on, and deliver the best weights."""
    from mace.__version__ import __version__
    from mace.cli import run_train
    from mace.tools import build_default_arg_parser

    is_first = os.environ.get("RANK", "0") == "0"  # of the processes on several GPUs
    if is_first:
        for results in Path(RESULTS).glob("*_train.txt"):
            cut_torn_line(results)
    arguments = build_default_arg_parser().parse_args(["--config", CONFIG, "--restart_latest"])
    given = _given(arguments)
    delivered: list[int] = []
    stopping = Stopping(until, arguments.patience)
    replace_parts(functools.partial(Checkpoints, delivered=delivered, stopping=stopping), stopping)
    run_train.run(arguments)
    if not is_first:
        return 0
    trained = next(p for p in (Path(MODELS, "mace_stagetwo.model"), Path(MODELS, "mace.model")) if p.is_file())
    facts: TrainerFacts = {
        **describe(trained),
        "trainer": f"mace-torch {__version__}",
        "epoch": delivered[-1],
        "finished": not stopping.out_of_time,
        "configuration": _used(given, arguments),
    }
    Path(FACTS).write_text(json.dumps(facts))
    Path(WEIGHTS).parent.mkdir(exist_ok=True)
    trained.replace(WEIGHTS)
    shutil.rmtree(MODELS)
    return 0


def _given(arguments: Namespace) -> Config:
    """All options with their values, MACE's own defaults included, less paths and what is not set."""
    from mace.tools import check_args

    as_given = vars(arguments)
    checked: Config = vars(check_args(copy.copy(arguments))[0])  # which fills in what follows from other options
    values = {key: checked[key] if _is_plain(checked[key]) else value for key, value in as_given.items()}
    return {key: value for key, value in values.items() if value is not None and not _is_path(key)}


def _used(given: Config, arguments: Namespace) -> Config:
    """The same after the training: MACE overrules some options, for which the value is recorded that it has used."""
    after = {key: value for key, value in vars(arguments).items() if _is_plain(value)}
    used = {key: value if key in _COMPUTED else after.get(key, value) for key, value in given.items()}
    if arguments.foundation_model is None:
        return used
    written = {line.partition(":")[0] for line in Path(CONFIG).read_text().splitlines()}
    # The model decides the architecture: MACE's own defaults of it are not used.
    return {key: value for key, value in used.items() if key not in ARCHITECTURE or key in written}


_COMPUTED = ("model", "mean", "std", "avg_num_neighbors")
"""Options that MACE overwrites with what it computes of the data, or calls by a name that is none of its choices."""


def _is_path(option: str) -> bool:
    return option.endswith(("_dir", "_file")) or option in ("name", "config", "foundation_model", "restart_latest")


def _is_plain(value: object) -> bool:
    return isinstance(value, (bool, int, float, str))


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else None))
