"""Measure two commands side by side: alternate them, drop the warm-up, and print the medians and their ratio."""

from __future__ import annotations

import operator
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence

ROWS: list[tuple[str, str, str, str, str]] = []
"""What has been measured: name, ours, peer, the figure that counts, goal."""


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
    return ratio(name, [(ours(), peer()) for _ in range(repeats)], goal)


def ratio(name: str, pairs: Sequence[tuple[float, float]], goal: str) -> tuple[float, float]:
    """Print the median of the ratios of pairs that were measured one after the other; returns the two medians."""
    a, b = (statistics.median(side) for side in zip(*pairs, strict=True))
    record(name, statistics.median(x / y for x, y in pairs), goal, f"{a:.4g}", f"{b:.4g}")
    return a, b


def record(name: str, value: float, goal: str, ours: str = "", peer: str = "") -> None:
    """Print one figure and keep it for the table."""
    against = f"{ours} against {peer}: ratio " if peer else ""
    print(f"{name}: {against}{value:.3g} (goal {goal})", flush=True)
    ROWS.append((name, ours, peer, f"{value:.3g}", f"{goal} {verdict(value, goal)}".strip()))


def verdict(value: float, goal: str) -> str:
    """Whether a figure meets a goal such as `>= 3`; nothing for a goal that is none."""
    sign, _, limit = goal.partition(" ")
    compares = {">=": operator.ge, "<=": operator.le}.get(sign)
    if compares is None:
        return ""
    return "met" if compares(value, float(limit)) else "MISSED"


def table() -> str:
    """Everything that was measured, in Markdown."""
    head = ("what", "psiflow", "peer", "figure", "goal")
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ("---",) * 5, *ROWS))


def peak_memory(command: Sequence[str], cwd: str) -> tuple[float, float]:
    """(MB that the command's own process held at most, wall seconds)."""
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return usage.ru_maxrss / 1024, time.perf_counter() - start
