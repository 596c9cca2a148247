"""Which of a node's GPUs each of its tasks sees.

A block may have got only some of a node's GPUs, and its scheduler says which in a variable of the environment. So the
supervisor shares those out on the node itself, one slot for each task that runs at once, and each worker takes the slot
of its own rank. Parsl's own way, `available_accelerators`, numbers from 0, divides by the lines of nvidia-smi, and sets
the variables of NVIDIA and AMD together, of which AMD's runtime applies one after the other:
https://github.com/Parsl/parsl/issues/3858
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, MutableMapping
from typing import TypedDict

from psiflow_cli.errors import counted

CUDA, HIP, ROCR = "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"
SLOTS = "PSIFLOW_GPU_SLOTS"
"""Tells workers the slots: a variable, and what it is for each, such as `CUDA_VISIBLE_DEVICES=0,1;2,3`."""
_RANK = "PARSL_WORKER_RANK"  # Parsl's, of a worker of HTEX among those of its pool


class Plan(TypedDict):
    """What tasks are to have of a node's GPUs."""

    ids: list[str]
    """Of the GPUs that the site expects, where no variable says which they are."""
    each: int
    """GPUs of one task."""
    tasks: int
    """Tasks that share them."""
    most: int
    """Tasks at once."""


def share(plan: Plan, environment: Mapping[str, str]) -> str:
    """The slots of this node, as `SLOTS` holds them; raises ValueError where no task could run.

    Tasks that share GPUs have slots far from each other, so that few tasks spread over all GPUs.
    """
    variable, ids = _visible(plan["ids"], environment)
    each = plan["each"]
    if len(ids) < each:
        seen = environment.get(variable)
        which = f"{variable} is {seen!r}" if seen is not None else f"{len(ids)} expected"
        raise ValueError(
            f"a task needs {counted(each, 'GPU')}, but a worker on {os.uname().nodename} sees {len(ids)}: {which}"
        )
    if each > 1 and any(name.startswith("MIG-") for name in ids):
        raise ValueError(f"a task needs {each} GPUs, but a process can use only one MIG instance: set gpus = 1")
    groups = [",".join(ids[first : first + each]) for first in range(0, len(ids) - each + 1, each)]
    return f"{variable}={';'.join((groups * plan['tasks'])[: plan['most']])}"


def _visible(expected: list[str], environment: Mapping[str, str]) -> tuple[str, list[str]]:
    """The variable that tells which GPUs are visible, the innermost of several, and their names."""
    amd = os.path.exists("/dev/kfd") or not (os.path.isdir("/proc/driver/nvidia") or CUDA in environment)
    variables = [name for name in (HIP, CUDA, ROCR) if name in environment] if amd else [CUDA]
    if not variables or variables[0] not in environment:
        return (ROCR if os.path.exists("/dev/kfd") else CUDA), expected
    ids = names_in(environment[variables[0]])
    if amd and variables[0] != ROCR and ROCR in environment:
        # HIP counts among the GPUs that ROCR leaves; a scheduler that names the same ones in both means those of ROCR
        outer = names_in(environment[ROCR])
        if any(not name.isdigit() or int(name) >= len(outer) for name in ids):
            return ROCR, outer
    return variables[0], ids


def names_in(text: str) -> list[str]:
    """The GPUs that a variable such as `CUDA_VISIBLE_DEVICES` names, as CUDA reads it: up to the first invalid one."""
    named = (name.strip() for name in text.split(","))
    return list(itertools.takewhile(lambda name: name not in ("", "-1", "NoDevFiles"), named))


def slots(environment: Mapping[str, str]) -> list[str]:
    """What each slot sees; [] where tasks have no GPU."""
    return [slot for slot in environment.get(SLOTS, "").partition("=")[2].split(";") if slot]


def take(number: int, environment: MutableMapping[str, str]) -> None:
    """Let what this process starts, and what it imports from now on, see the GPUs of a slot only."""
    variable = environment[SLOTS].partition("=")[0]
    environment[variable] = slots(environment)[number]
    if variable == CUDA:
        # nvidia-smi and schedulers number by bus; CUDA by itself begins with the fastest
        environment.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    for name in {HIP: (CUDA,), ROCR: (HIP, CUDA)}.get(variable, ()):
        environment.pop(name, None)
    if variable != CUDA or ROCR in environment:
        environment.pop("GPU_DEVICE_ORDINAL", None)  # AMD's, too: it would be applied again


def take_own() -> None:
    """In a worker of HTEX: take the slot of its rank; elsewhere nothing happens."""
    rank, there = os.environ.get(_RANK, ""), slots(os.environ)
    if there and rank.isdigit() and int(rank) < len(there):
        take(int(rank), os.environ)
