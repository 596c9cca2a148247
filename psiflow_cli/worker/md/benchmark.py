"""How fast each engine moves walkers here, alone and in batches of several sizes: a short measurement."""

from __future__ import annotations

import importlib
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

from psiflow_cli.worker.environment_faults import environment_fault
from psiflow_cli.worker.failures import Fatal, is_broken_device
from psiflow_cli.worker.pool.temporary_folders import temporary

if TYPE_CHECKING:
    from types import ModuleType

    from psiflow_cli.messages import Context, EngineTimes, MDJob, StepTime

STEPS = 4  # steps of one timing, after a first block that loads and warms
LIMIT_S = 20.0  # after so long, an engine is tried with one batch, and no larger one
GAIN = 1.05  # by how much each walker of a larger batch must be faster, for a still larger one to be tried
SURE = 4  # batches up to here are tried in any case: a busy machine may hide what they gain


def measure(job: MDJob, engines: dict[str, str], share: int, batch: int | None, context: Context) -> EngineTimes:
    """*worker*: the time of a step, for what could be run, and why other engines or larger batches could not.

    `engines` are {name: module}. `share` walkers are one worker's; no batch is larger. `batch` is the only one tried,
    if given. An engine that does not work here is left out, but its exception is raised if that leaves none.
    """
    began = time.perf_counter()
    measured: list[StepTime] = []
    left_out: dict[str, str] = {}
    failed: Fatal | None = None
    for name, path in engines.items():
        module = importlib.import_module(path)
        sizes = [1] if not module.BATCHED else [batch] if batch else _sizes(min(share, len(job["walkers"])))
        if measured and time.perf_counter() - began > LIMIT_S:
            sizes = [max(size for size in sizes if size <= SURE)] if min(sizes) <= SURE else sizes
        before = math.inf
        for size in sizes:
            if before < math.inf and time.perf_counter() - began > LIMIT_S:
                break
            try:
                seconds = _step_seconds(module, job, size, context)
            except (ImportError, Fatal, RuntimeError, MemoryError) as error:
                if len(engines) == 1 or is_broken_device(error):
                    raise
                fault = error if isinstance(error, Fatal) else environment_fault(error)
                failed = failed or fault
                left_out[name] = _one_line(fault or error)
                break
            measured.append({"engine": name, "batch": size, "seconds": seconds})
            if size >= SURE and seconds / size * GAIN > before:
                break
            before = seconds / size
    if failed and not measured:
        raise failed
    return {"times": measured, "left_out": left_out}


def _one_line(error: Exception) -> str:
    """What an engine has said, and what to do."""
    hint = error.hint if isinstance(error, Fatal) else ""
    return " ".join(f"{error}{f' ({hint})' if hint else ''}".split())[:300]


def _sizes(most: int) -> list[int]:
    """1, 2, 4 … and the most that there can be."""
    sizes = [1]
    while 2 * sizes[-1] < most:
        sizes.append(2 * sizes[-1])
    return sizes if sizes[-1] == most else [*sizes, most]


def _step_seconds(module: ModuleType, job: MDJob, size: int, context: Context) -> float:
    """Seconds of one step of the first `size` walkers."""
    with temporary("psiflow-pace", context["scratch"]) as folder:
        first = {**job, "folder": str(Path(folder) / "group"), "walkers": job["walkers"][:size], "batch": size}
        first.update(steps=3 * STEPS, every=3 * STEPS + 1, limits={}, exchange=None, block=STEPS, plumed=None)
        laps = []
        for _ in range(3):
            start = time.perf_counter()
            module.advance(cast("MDJob", first), context)
            laps.append(time.perf_counter() - start)
    return min(laps[1:]) / STEPS
