"""The process that trains: MACE's own `run_train` with psiflow's checkpoints, in the folder it is started in.

    python -m psiflow_cli.models.mace.trainer

It reads `mace.yaml`, which `mace_run_train --config` takes as well, and leaves `weights/mace.model` and `facts.json`.
"""

from __future__ import annotations

import functools
import importlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from psiflow_cli.models.mace.checkpoints import Checkpoints, resumable
from psiflow_cli.models.mace.files import CONFIG, FACTS, MODELS, RESULTS, WEIGHTS
from psiflow_cli.models.mace.inference import describe


def main() -> int:
    """Train, or go on, and deliver the best weights."""
    from mace.cli import run_train

    mace: Any = importlib.import_module("mace")
    tools: Any = importlib.import_module("mace.tools")
    for results in Path(RESULTS).glob("*_train.txt"):
        _cut_torn_line(results)
    best: list[int] = []
    tools.CheckpointHandler = functools.partial(Checkpoints, delivered=best)
    tools.train = resumable(tools.train)
    run_train.run(tools.build_default_arg_parser().parse_args(["--config", CONFIG, "--restart_latest"]))
    trained = next(p for p in (Path(MODELS, "mace_stagetwo.model"), Path(MODELS, "mace.model")) if p.is_file())
    facts = {**describe(str(trained)), "trainer": f"mace-torch {mace.__version__}", "epoch": best[-1]}
    Path(FACTS).write_text(json.dumps(facts))
    Path(WEIGHTS).parent.mkdir(exist_ok=True)
    trained.replace(WEIGHTS)
    shutil.rmtree(MODELS)
    return 0


def _cut_torn_line(path: Path) -> None:
    """Drop what a killed trainer wrote of its last line, or the next line would be glued to it."""
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with path.open("r+b") as file:
            file.truncate(whole)


if __name__ == "__main__":
    sys.exit(main())
