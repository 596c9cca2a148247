"""Measure two commands side by side: alternate them, drop the warm-up, and print the medians and their ratio."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Sequence


def seconds(command: Sequence[str], cwd: str | None = None) -> float:
    """Wall time of one run of a command, which must succeed."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=cwd)
    return time.perf_counter() - start


def compare(
    name: str, ours: Callable[[], float], peer: Callable[[], float], goal: str, repeats: int = 5
) -> tuple[float, float]:
    """Print one line; each callable does the work once and returns what it took (seconds, or a rate)."""
    ours(), peer()
    pairs = [(ours(), peer()) for _ in range(repeats)]
    a, b = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(x / y for x, y in pairs)
    print(f"{name}: {a:.4g} against {b:.4g}: ratio {ratio:.3f} (goal {goal})", flush=True)
    return a, b
