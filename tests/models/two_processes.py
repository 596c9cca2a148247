"""MACE's training on two processes of a CPU: all but the GPUs is as on two of these.

python -m torch.distributed.run --standalone --nproc_per_node=2 two_processes.py SECONDS
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any


def main() -> int:
    import torch
    from mace.cli import run_train

    from psiflow_cli.models.mace.trainer import __main__ as trainer

    parallel = run_train.DDP

    def started(_: Any) -> tuple[int, int, int]:
        torch.distributed.init_process_group(backend="gloo", init_method="env://")
        return int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"]), int(os.environ["WORLD_SIZE"])

    run_train.init_distributed = started
    run_train.DDP = lambda model, device_ids: parallel(model)
    return trainer.main(time.time() + float(sys.argv[1]))


if __name__ == "__main__":
    sys.exit(main())
