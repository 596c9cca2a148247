"""The environment variables that give a Python process its threads."""

from __future__ import annotations

import os

_COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_WAIT = "OMP_WAIT_POLICY"


def variables(threads: int) -> dict[str, str]:
    """Those for so many threads.

    OpenMP's threads spin by default while they wait for one another. Where another program has one of their cores, all
    of them then wait for a thread that does not run: two threads took 20 to 100 times as long on a busy machine as with
    `passive`, and the training of a small model on its own two cores as long with either.
    """
    return {**dict.fromkeys(_COUNTS, str(threads)), _WAIT: os.environ.get(_WAIT, "passive")}
