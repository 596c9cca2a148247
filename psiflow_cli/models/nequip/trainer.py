"""The process that trains: NequIP's own `nequip-train` with psiflow's checkpoints, in the folder it is started in.

    python -m psiflow_cli.models.nequip.trainer [UNTIL]

It reads `nequip.yaml`, which `nequip-train -cn nequip` takes as well, and delivers the best weights, packed by
`nequip-package`, when the training is at its end. Where it stops before UNTIL (seconds since 1970), as it does if one
epoch fits, it leaves checkpoints only; started with no time at all (0), it packs the best of those.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from psiflow_cli.models.nequip import checkpoints, nequip_internals, settings
from psiflow_cli.models.nequip.files import BEST, CONFIG, EPOCHS, HYDRA, LAST, MODEL, PACKAGE, RECORD, describe
from psiflow_cli.worker.training import delivery, phase
from psiflow_cli.worker.training.early_stopping import Stopping, TrainingDone
from psiflow_cli.worker.training.growing_file import cut_torn_line

if TYPE_CHECKING:
    from psiflow_cli.messages import TrainerFacts


def main() -> int:
    """Train, or go on, and deliver the best weights."""
    config = json.loads(Path(CONFIG).read_text())
    if int(os.environ.get("LOCAL_RANK", "0")) > 0:  # Lightning has started this one, with the arguments for Hydra
        _train(config, Stopping(), math.inf, sys.argv[1:])
        return 0
    until = float(sys.argv[1]) if len(sys.argv) > 1 else None
    stopping = Stopping(until)
    if Path(EPOCHS).is_file():
        cut_torn_line(Path(EPOCHS))
    Path(LAST).parent.mkdir(exist_ok=True)
    saved = checkpoints.read(Path(LAST)) if Path(LAST).is_file() else None
    with contextlib.suppress(TrainingDone):
        if saved is None and until != 0:
            _train(config, stopping, math.inf, [])
        elif saved is not None and not saved["ended"]:
            stopping.resume(saved["stopping"])
            _train(config, stopping, saved["best"], [f"+ckpt_path={LAST}"])
    is_finished = not stopping.out_of_time and until != 0
    is_finished = is_finished or (Path(LAST).is_file() and checkpoints.read(Path(LAST))["ended"])
    if is_finished or until == 0:
        _deliver(config, is_finished)
    return 0


def _train(config: Mapping[str, object], stopping: Stopping, best: float, arguments: list[str]) -> None:
    if "-cn" not in arguments:
        arguments = ["-cn", Path(CONFIG).stem, f"hydra.run.dir={HYDRA}", *arguments]
    metric, highest = settings.monitor(config), settings.is_highest_best(config)
    nequip_internals.run_trainer(arguments, checkpoints.Epochs, lambda kind: kind(metric, highest, stopping, best))


def _deliver(config: Mapping[str, object], finished: bool) -> None:
    """Pack the best weights, and note what they are."""
    phase.begin(Path(), "delivering")
    best = BEST if Path(BEST).is_file() else LAST
    packed = Path(delivery.WEIGHTS, f"part{PACKAGE}")
    packed.parent.mkdir(exist_ok=True)
    nequip_internals.package(best, packed)
    facts = {
        **describe(packed),
        "trainer": _trainer(config),
        "epoch": checkpoints.read(Path(best))["metrics"]["epoch"],
        "finished": finished,
        "configuration": json.loads(Path(RECORD).read_text()),
    }
    delivery.put(packed, MODEL, cast("TrainerFacts", facts))


def _trainer(config: Mapping[str, object]) -> str:
    from importlib.metadata import version

    nequip = f"nequip {version('nequip')}"
    is_allegro = '"allegro.' in json.dumps(config)
    return f"nequip-allegro {version('nequip-allegro')} with {nequip}" if is_allegro else nequip


if __name__ == "__main__":
    sys.exit(main())
