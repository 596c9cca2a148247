"""How long a training may take, found out where and when it begins."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, cast

from psiflow_cli.worker.pool.call import resolve

if TYPE_CHECKING:
    from psiflow_cli.messages import Context, TrainedMember, TrainingJob

MARGIN_S = 10.0
"""What a training leaves of its walltime, or a tenth of it: the limit itself is for one that does not obey."""
JOB_MARGIN_S = 30.0
"""What it leaves of the batch job around its worker."""


def train(module: str, job: TrainingJob, until: float | None, context: Context) -> TrainedMember:
    """*worker*: `protocols.Model.train` of a family's `module`, so that it is done by `until` (seconds since 1970).

    The task's walltime and the end of the worker's own batch job count as well.
    """
    timed: TrainingJob = {**job, "seconds": time_limit(until, context)}
    return cast("TrainedMember", resolve(f"{module}:train")(job=timed, context=context))


def time_limit(until: float | None, context: Context) -> float | None:
    """How many seconds from now a training has; None without any limit."""
    now = time.time()
    walltime = context.get("walltime")
    limits = [] if until is None else [until - now]
    if walltime:
        limits.append(walltime - min(MARGIN_S, walltime / 10))
    end = os.environ.get("SLURM_JOB_END_TIME", "")
    if end.isdigit():
        limits.append(int(end) - JOB_MARGIN_S - now)
    return min(limits) if limits else None
