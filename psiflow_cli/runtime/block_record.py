"""blocks.json: the jobs that a command has in a batch system, and how they are cancelled when it is dead."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, cast

from psiflow_cli.runtime.jsonfile import read_json
from psiflow_cli.worker.process import inherited_variables

if TYPE_CHECKING:
    from psiflow_cli.messages import BlocksRecord

FILE = "blocks.json"


class BlockState(str, Enum):
    """What a block is at, in Parsl's words, as blocks.json and `psiflow status --json` have them."""

    UNKNOWN = "UNKNOWN"  # the batch system does not say
    PENDING = "PENDING"  # it waits in the queue
    RUNNING = "RUNNING"  # it runs
    HELD = "HELD"  # it is in the queue, and must not start
    CANCELLED = "CANCELLED"  # somebody has cancelled it
    COMPLETED = "COMPLETED"  # its script has ended well
    FAILED = "FAILED"  # its script has failed, or was refused
    TIMEOUT = "TIMEOUT"  # its time was up
    MISSING = "MISSING"  # it has ended, and no worker of it ever connected
    SCALED_IN = "SCALED_IN"  # it was given back, since nothing waited for it

    __str__ = str.__str__

    @classmethod
    def _missing_(cls, _value: object) -> BlockState:
        return cls.UNKNOWN


LIVE = (BlockState.PENDING, BlockState.RUNNING, BlockState.HELD)
"""States in which a job is or will be there."""
_GONE = re.compile(r"invalid job|unknown job|already|finished|not found|couldn't find|does not exist", re.IGNORECASE)
"""What is said of jobs that have ended."""


def read(folder: Path) -> BlocksRecord:
    """What a run has written down of its blocks; empty if nothing."""
    return cast("BlocksRecord", read_json(folder / FILE))


def left(folder: Path) -> list[str]:
    """The jobs that the last command of a run had in a queue or running when it was heard of last."""
    blocks = read(folder)
    if blocks.get("type") == "local":
        return []  # processes of this host, which end with the command
    return [job for job, record in blocks.get("jobs", {}).items() if record["state"] in LIVE]


def end_stale(folder: Path) -> None:
    """Cancel what an earlier, killed command left in a queue."""
    cancel_left(folder)
    (folder / FILE).unlink(missing_ok=True)


def cancel_left(folder: Path) -> tuple[list[str], str]:
    """Cancel what a dead command left in a queue; returns the jobs and, where that failed, why.

    Only the holder of the run's lock may call it. Jobs that are gone already do no harm.
    """
    jobs = left(folder)
    problem = _cancel(read(folder), jobs) if jobs else ""
    if not problem:
        (folder / FILE).unlink(missing_ok=True)
    return jobs, problem


def _cancel(blocks: BlocksRecord, jobs: list[str]) -> str:
    """Cancel jobs by the program of their batch system; returns what it says against it."""
    import subprocess

    from psiflow_cli import protocols, registry

    provider = registry.load("runtime.providers", blocks["type"])
    if not isinstance(provider, protocols.Cancels):
        return f"psiflow cannot cancel what {blocks['type']} runs"
    cluster = [f"--clusters={blocks['clusters']}"] if blocks.get("clusters") else []
    argv = [provider.CANCEL, *cluster, *jobs]
    try:
        environment = inherited_variables.for_queue(blocks["type"])
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, env=environment)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{provider.CANCEL}: {getattr(error, 'strerror', None) or 'no answer within a minute'}"
    complaints = done.stderr.strip().splitlines() if done.returncode else []
    return next((line.strip() for line in complaints if not _GONE.search(line)), "")
