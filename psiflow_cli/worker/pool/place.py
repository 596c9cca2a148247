"""The place of this worker: its node, and its slot of GPUs; and how a task tells of a GPU that is broken."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, NoReturn

from psiflow_cli.worker.pool import gpu_slots

if TYPE_CHECKING:
    from psiflow_cli.messages import LastWords

GPUS = " GPU "
"""Between a node and its GPUs in the name of a place."""


def short(host: str) -> str:
    """A host's name without its domain: batch systems and hosts do not agree on it."""
    return host.partition(".")[0]


def names(environment: Mapping[str, str]) -> list[str]:
    """What this place is called: with GPUs `NODE GPU 0,1` first, then its node, by SLURM's name for it and its own."""
    names_here = [short(environment.get("SLURMD_NODENAME") or os.uname().nodename), short(os.uname().nodename)]
    if slots := gpu_slots.slots(environment):
        own = environment.get(environment[gpu_slots.SLOTS].partition("=")[0], "")
        if own in slots:  # a worker that has not taken one has all of them
            names_here.insert(0, f"{names_here[0]}{GPUS}{own}")
    return list(dict.fromkeys(names_here))


def end(path: str, message: str) -> NoReturn:
    """End this process, whose GPU computes nothing more, and leave word of it.

    While the task runs: a pool that loses an idle worker is ended as a whole.
    """
    words: LastWords = {"place": names(os.environ)[0], "message": message}
    with contextlib.suppress(OSError), open(path, "w", encoding="utf-8") as stream:
        json.dump(words, stream)
        stream.flush()
        os.fsync(stream.fileno())
    os._exit(1)


def last_words(path: str) -> LastWords | None:
    """*command*: what a process left when it ended in this way; it is removed."""
    with contextlib.suppress(OSError, ValueError), open(path, encoding="utf-8") as stream:
        words: LastWords = json.load(stream)
        os.unlink(path)
        return words
    return None
