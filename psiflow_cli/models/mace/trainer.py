"""The process that trains: MACE's own `run_train` with psiflow's checkpoints, in the folder it is started in.

    python -m psiflow_cli.models.mace.trainer [UNTIL]

It reads `mace.yaml`, which `mace_run_train --config` takes as well, and leaves `weights/mace.model` and `facts.json`,
by UNTIL (seconds since 1970) at the latest if one epoch fits.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from psiflow_cli.models.mace.checkpoints import Checkpoints, resumable
from psiflow_cli.models.mace.files import CONFIG, FACTS, MODELS, RESULTS, WEIGHTS
from psiflow_cli.models.mace.inference import describe
from psiflow_cli.worker.models.early_stopping import Stopping
from psiflow_cli.worker.process.growing_file import cut_torn_line


def main(until: float | None) -> int:
    """Train, or go on, and deliver the best weights."""
    from mace.cli import run_train

    mace: Any = importlib.import_module("mace")
    tools: Any = importlib.import_module("mace.tools")
    is_first = os.environ.get("RANK", "0") == "0"  # of the processes on several GPUs
    if is_first:
        for results in Path(RESULTS).glob("*_train.txt"):
            cut_torn_line(results)
    given = tools.build_default_arg_parser().parse_args(["--config", CONFIG, "--restart_latest"])
    best: list[int] = []
    stopping = Stopping(until, given.patience)
    tools.CheckpointHandler = functools.partial(Checkpoints, delivered=best, stopping=stopping)
    tools.train = resumable(tools.train)
    _deliver_quickly(run_train, stopping)
    run_train.run(given)
    if not is_first:
        return 0
    trained = next(p for p in (Path(MODELS, "mace_stagetwo.model"), Path(MODELS, "mace.model")) if p.is_file())
    facts = {**describe(str(trained)), "trainer": f"mace-torch {mace.__version__}", "epoch": best[-1]}
    facts["finished"] = not stopping.out_of_time
    Path(FACTS).write_text(json.dumps(facts))
    Path(WEIGHTS).parent.mkdir(exist_ok=True)
    trained.replace(WEIGHTS)
    shutil.rmtree(MODELS)
    return 0


def _deliver_quickly(run_train: Any, stopping: Stopping) -> None:
    """Leave out what the bundle has no use for: models compiled for LAMMPS, and tables of errors when time is up."""

    def compiled(*_: Any, **__: Any) -> None:
        raise NotImplementedError("psiflow keeps the model as it is")  # MACE goes on without

    table = run_train.create_error_table

    def errors(*given: Any, **named: Any) -> Any:
        return "left out: the time is up" if stopping.out_of_time else table(*given, **named)

    run_train.jit = SimpleNamespace(compile=compiled)
    run_train.create_error_table = errors


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else None))
