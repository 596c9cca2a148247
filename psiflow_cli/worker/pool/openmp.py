"""The environment variables that give a Python process its threads."""

from __future__ import annotations

_COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def variables(threads: int) -> dict[str, str]:
    """Those for so many threads."""
    return dict.fromkeys(_COUNTS, str(threads))
