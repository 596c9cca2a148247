"""The environment variables that give a Python process its threads."""

from __future__ import annotations

import os

_COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_SPINS = "GOMP_SPINCOUNT"


def variables(threads: int) -> dict[str, str]:
    """Those for so many threads.

    GNU's OpenMP lets threads spin for milliseconds while they wait for one another. Where another program has one of
    their cores, all of them wait for a thread that does not run: two threads took 20 to 50 times as long on a busy
    machine. A short spin keeps nearly the speed of idle cores, which sleeping at once (OMP_WAIT_POLICY=passive) loses.
    """
    counts = dict.fromkeys(_COUNTS, str(threads))
    if "OMP_WAIT_POLICY" in os.environ:
        return counts
    return {**counts, _SPINS: os.environ.get(_SPINS, "10000")}
