"""The environment variables that give a Python process its threads."""

from __future__ import annotations

import os
from collections.abc import Mapping

_COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_SPINS, _POLICY = "GOMP_SPINCOUNT", "OMP_WAIT_POLICY"


def variables(threads: int, site: Mapping[str, str]) -> dict[str, str]:
    """Those for so many threads, and over them those that the site sets.

    GNU's OpenMP lets threads spin for milliseconds while they wait for one another. Where another program has one of
    their cores, all of them wait for a thread that does not run. A short spin keeps nearly the speed of idle cores,
    which sleeping at once (OMP_WAIT_POLICY=passive) loses. It would overrule a policy that the user has chosen.
    """
    counts = dict.fromkeys(_COUNTS, str(threads))
    spins = {} if _POLICY in site or _POLICY in os.environ else {_SPINS: os.environ.get(_SPINS, "10000")}
    return {**counts, **spins, **site}
