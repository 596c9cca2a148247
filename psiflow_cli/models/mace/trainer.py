"""The process that trains: MACE's own `run_train` with psiflow's checkpoints, in the folder it is started in.

    python -m psiflow_cli.models.mace.trainer [UNTIL]

It reads `mace.yaml`, which `mace_run_train --config` takes as well, and leaves `weights/mace.model` and `facts.json`,
by UNTIL (seconds since 1970) at the latest if one epoch fits.
"""

from __future__ import annotations

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
from psiflow_cli.worker.training.early_stopping import Stopping
from psiflow_cli.worker.training.growing_file import cut_torn_line

if TYPE_CHECKING:
    from psiflow_cli.messages import TrainerFacts


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
    }
    Path(FACTS).write_text(json.dumps(facts))
    Path(WEIGHTS).parent.mkdir(exist_ok=True)
    trained.replace(WEIGHTS)
    shutil.rmtree(MODELS)
    return 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else None))
