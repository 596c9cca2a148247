"""The tasks of a site file that `psiflow site init` writes: what each needs of a node, and which executor runs what."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass

from psiflow_cli import duration, registry, toml
from psiflow_cli.errors import BadConfig
from psiflow_cli.site import environments

_HOUR_S = 3600.0
_CP2K = ("cp2k.psmp", "cp2k.popt")
_CP2K_MODULE = """
# [environments.cp2k]            # {programs} not found: is it a module? See module avail CP2K,
# modules = ["CP2K/..."]         # then add environment = "cp2k" to [executors.reference]
"""


@dataclass(frozen=True)
class Place:
    """What a node of a provider gives to the tasks on it."""

    provider: str
    cores: int
    threads_per_core: int
    memory_gb: int  # 0: unknown, or not counted
    gpus: int
    block_s: float | None  # None: there is no end to it


def tasks(labels: Place, models: Place, most_ranks: int) -> str:
    """What does not depend on where: resources, executors, use."""
    executors = (
        ("default", "pre- and post-processing, and everything that [use] does not list", labels, "task"),
        ("reference", "CP2K", labels, "singlepoint"),
        ("model", "inference and molecular dynamics", models, "walker"),
        ("training", "", models, "training"),
    )
    lines = ["", header("resources.task"), line("cores", 1), "", *_singlepoint(labels, most_ranks)]
    lines += ["", *_model("walker", models), "", *_model("training", models)]
    for name, comment, place, resources in executors:
        lines += ["", f"{header(f'executors.{name}'):33}# {comment}" if comment else header(f"executors.{name}")]
        lines += [line("provider", place.provider), line("resources", resources)]
    return ("" if _cp2k() else _CP2K_MODULE.format(programs=_CP2K[0])) + "\n".join([*lines, "", *_use()]) + "\n"


def _singlepoint(place: Place, most_ranks: int) -> Iterator[str]:
    cores = max(1, place.cores // place.threads_per_core)
    # as many ranks as leave the fewest cores idle
    choice = range(min(most_ranks // 2, cores) or 1, min(most_ranks, cores) + 1)
    ranks = max(choice, key=lambda r: (cores // r * r, r))
    taken = ranks * place.threads_per_core
    yield f"{header('resources.singlepoint'):33}# one run of CP2K; {place.cores // taken} at a time on a node"
    yield line("ranks", ranks)
    yield line("threads", 1)
    yield line("cores", taken)
    if memory := place.memory_gb * taken // place.cores:
        yield line("memory", f"{memory} GB", "its share of the node's")
    yield line("walltime", _within(_HOUR_S if place.block_s else 2 * _HOUR_S, place.block_s, 0.5))
    launch = line("launch", "mpirun -np {ranks}", "Open MPI can add: --cpu-list {cpus} --bind-to cpu-list:ordered")
    yield launch if shutil.which("mpirun") else f"# {launch}; no mpirun here"
    yield line("executable", _cp2k()) if _cp2k() else f"# {line('executable', _CP2K[0])}"


def _model(name: str, place: Place) -> Iterator[str]:
    training = name == "training"
    yield header(f"resources.{name}")
    cores = place.cores // place.gpus if place.gpus else min(4, place.cores)
    yield line("cores", "all" if training and not place.gpus else max(1, cores))
    if place.gpus:
        yield line("gpus", 1)
    yield line("device", "cuda" if place.gpus else "cpu")
    if place.block_s:
        share = 11 / 12 if training else 0.5
        yield line("walltime", _within(place.block_s if training else 2 * _HOUR_S, place.block_s, share))


def _within(wanted: float, block: float | None, share: float) -> str:
    """A task's walltime, in whole minutes, that leaves some of the block's."""
    return duration.format(min(wanted, block * share) // 60 * 60 if block else wanted)


def _use() -> Iterator[str]:
    """Which families go where; one that has no environment yet is not named, since nothing could run."""
    yield header("use")
    yield line("default", "default")
    for family, operation, executor in (
        ("cp2k", "label", "reference"),
        *((name, *use) for name in registry.names("models") for use in (("evaluate", "model"), ("train", "training"))),
    ):
        entry = f"{family}.{operation} = {toml.value(executor)}"
        yield f"# {entry}".ljust(33) + f"# first: {missing(family)}" if missing(family) else entry


def missing(family: str) -> str:
    """How to get what a family needs, if no environment has it."""
    try:
        environments.python_for(family, "htex")
    except BadConfig as error:
        return error.hint
    return ""


def _cp2k() -> str:
    return next(filter(shutil.which, _CP2K), "")


def header(table: str) -> str:
    return f"[{table}]"


def line(key: str, value: object, comment: str = "") -> str:
    return f"{key} = {toml.value(value)}".ljust(33) + f"# {comment}" if comment else f"{key} = {toml.value(value)}"
