"""What `status`, `cancel`, `clean`, `report` and `env` say of runs and environments with `--json`."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from typing_extensions import NotRequired

    from psiflow_cli.messages.frames import FailureClass
    from psiflow_cli.messages.models import Epoch


class FailedUnit(TypedDict):
    """A failed unit as `status --failures` lists it."""

    id: str
    failure: FailureClass | str
    message: str
    log: str


class BlockStatus(TypedDict):
    """A block in a batch system as `status --json` has it."""

    executor: str
    provider: str  # its type
    job: str
    state: str  # a `runtime.block_record.BlockState`
    for_s: float  # in this state
    queued_s: float | None  # before it ran
    reason: str  # why it waits, in the queue's words, or ""


class NodeStatus(TypedDict):
    """A node on which blocks or workers of the last command failed, or a GPU of one."""

    node: str
    failed_blocks: int
    last_words: str  # of the block that failed last
    excluded: bool  # no further block went there


class RunStatus(TypedDict):
    """A run as `status --json` has it."""

    run: str
    command: str | None
    state: str  # a `stages.runs.status.RunState`
    total: int
    done: int
    failed: int
    lost: int  # times that a unit was lost with its worker
    started: str | None  # ISO 8601, as are the other times
    updated: str | None
    rate_per_s: float | None
    eta_s: float | None  # None also as long as all of its jobs wait in the queue
    core_hours: float  # of jobs from their start to their end; of this host's processes, what finished units took
    host: str | None
    pid: int | None
    slurm_job_id: str | None
    blocks: list[BlockStatus]
    waiting: dict[str, float]  # seconds by job, of those that are queued
    bad_nodes: list[NodeStatus]
    exit_code: int | None
    message: str  # why it is not done
    argv: list[str]
    cwd: str | None
    info: Epoch
    phase: str  # of a training that runs: `starting`, or a `worker.training.phase.Phase`
    kernels: str  # how the model is computed, where that was measured
    shown: NotRequired[bool]  # whether it was asked for; left out of the JSON
    failures: NotRequired[list[FailedUnit]]  # with --failures


class ReportedRun(RunStatus):
    """A run on the page of `report`, less what holds for a moment only."""

    name: str


class CancelledRun(TypedDict):
    """A run as `cancel --json` has it."""

    run: str
    was: str
    state: str
    exit_code: int | None
    done: int
    total: int | None  # None: it had not begun
    slurm_job_id: str | None
    cancelled: list[str]  # jobs
    left: list[str]  # jobs that could not be cancelled
    problem: str  # why not


class CleanedItem(TypedDict):
    """Something that can be deleted of a run."""

    what: str
    bytes: int
    files: int


class CleanedRun(TypedDict):
    """A run as `clean --json` has it."""

    run: str
    state: str
    bytes: int
    items: list[CleanedItem]
    kept: str  # why it is left alone, or ""


class EnvironmentRow(TypedDict):
    """An environment as `env list --json` has it."""

    name: str
    family: str | None
    prefix: str
    python: str | None
    parsl: str | None
    psiflow: str | None
    matches: bool
    problem: str
    up_to_date: NotRequired[bool]  # from `env create`
