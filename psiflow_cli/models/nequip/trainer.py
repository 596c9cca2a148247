"""The process that trains: NequIP's own `nequip-train` with psiflow's checkpoints, in the folder it is started in.

    python -m psiflow_cli.models.nequip.trainer [UNTIL]

It reads `nequip.yaml`, which `nequip-train -cn nequip` takes as well, and leaves `weights/model.nequip.zip`, made by
`nequip-package`, and `facts.json`, by UNTIL (seconds since 1970) at the latest if one epoch fits.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli.models.nequip import checkpoints, nequip_internals
from psiflow_cli.models.nequip.files import BEST, CONFIG, EPOCHS, FACTS, HYDRA, LAST, WEIGHTS, describe
from psiflow_cli.models.nequip.settings import monitor
from psiflow_cli.worker.training.early_stopping import Stopping, TrainingDone
from psiflow_cli.worker.training.growing_file import cut_torn_line

if TYPE_CHECKING:
    from psiflow_cli.messages import TrainerFacts

PACKAGING_S = 10.0
"""What NequIP takes to build the model again and to pack it; a large one takes about twice as long as a small one."""


def main() -> int:
    """Train, or go on, and deliver the best weights."""
    config = json.loads(Path(CONFIG).read_text())
    if int(os.environ.get("LOCAL_RANK", "0")) > 0:  # Lightning has started this one, with the arguments for Hydra
        _train(config, Stopping(), math.inf, sys.argv[1:])
        return 0
    stopping = Stopping(float(sys.argv[1]) - PACKAGING_S if len(sys.argv) > 1 else None)
    if Path(EPOCHS).is_file():
        cut_torn_line(Path(EPOCHS))
    Path(LAST).parent.mkdir(exist_ok=True)
    saved = checkpoints.read(Path(LAST)) if Path(LAST).is_file() else None
    with contextlib.suppress(TrainingDone):
        if saved is None:
            _train(config, stopping, math.inf, [])
        elif not saved["ended"]:
            stopping.resume(saved["stopping"])
            _train(config, stopping, saved["best"], [f"+ckpt_path={LAST}"])
    _deliver(config, not stopping.out_of_time)
    return 0


def _train(config: Mapping[str, object], stopping: Stopping, best: float, arguments: list[str]) -> None:
    if "-cn" not in arguments:
        arguments = ["-cn", Path(CONFIG).stem, f"hydra.run.dir={HYDRA}", *arguments]
    metric = monitor(config)
    nequip_internals.run_trainer(arguments, checkpoints.Epochs, lambda kind: kind(metric, stopping, best))


def _deliver(config: Mapping[str, object], finished: bool) -> None:
    """Pack the best weights, and note what they are."""
    best = BEST if Path(BEST).is_file() else LAST
    packed = Path(WEIGHTS).with_name("part.nequip.zip")
    packed.parent.mkdir(exist_ok=True)
    nequip_internals.package(best, packed)
    facts: TrainerFacts = {
        **describe(packed),
        "trainer": _trainer(config),
        "epoch": checkpoints.read(Path(best))["metrics"]["epoch"],
        "finished": finished,
        "configuration": {**config},
    }
    Path(FACTS).write_text(json.dumps(facts))
    packed.replace(WEIGHTS)


def _trainer(config: Mapping[str, object]) -> str:
    from importlib.metadata import version

    nequip = f"nequip {version('nequip')}"
    is_allegro = '"allegro.' in json.dumps(config)
    return f"nequip-allegro {version('nequip-allegro')} with {nequip}" if is_allegro else nequip


if __name__ == "__main__":
    sys.exit(main())
