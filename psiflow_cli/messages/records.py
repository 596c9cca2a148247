"""What lies on disk: the journal, run.json, blocks.json, the lock, an environment's marker, a bundle's model.toml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from psiflow_cli.messages.models import FastPathChoice

if TYPE_CHECKING:
    from typing_extensions import NotRequired

    from psiflow_cli.messages.calibration import Calibration
    from psiflow_cli.messages.dynamics import StepTime, Stop
    from psiflow_cli.messages.models import Config, Epoch, Term

Summary = dict[str, Any]
"""What a stage says at its end, for `--json` and run.json: `total`, `failed`, `failures`, `output` and its own keys."""


class StageSummary(TypedDict, total=False):
    """What the summary of any stage may have."""

    total: int
    failed: int
    failures: dict[str, int]  # how many failed, by class
    failed_output: str | None
    failed_hint: str
    retry: bool  # something failed for the machine's reasons
    unfinished: bool  # the same command goes on


class Unit(TypedDict):
    """A finished piece of work: a frame, an epoch, a block of MD steps, a single task."""

    kind: Literal["unit"]
    id: str
    of: str  # fingerprint of the settings that decide its result
    ok: bool
    t: float  # when it was finished (seconds since 1970)
    s: float  # how long it took
    cores: int
    at: NotRequired[int]  # of a unit that grows: how far it is (epochs, MD steps)
    bytes: NotRequired[int]  # of a walker: length of its trajectory
    failure: NotRequired[str]  # class, where `ok` is false
    code: NotRequired[str]
    stopped: NotRequired[Stop]
    info: NotRequired[Epoch]
    value: NotRequired[Any]  # the result itself; last, since it is large


class Begin(TypedDict):
    """An invocation begins."""

    kind: Literal["begin"]
    t: float
    host: str
    pid: int
    slurm_job_id: str | None
    fingerprint: str
    total: int
    provider: NotRequired[str]  # the type of that of its executor, if it has one


class Lost(TypedDict):
    """Units that were lost with their worker."""

    kind: Literal["lost"]
    t: float
    ids: list[str]
    why: str


class Output(TypedDict):
    """An output is about to take its place."""

    kind: Literal["output"]
    path: str
    sha256: str


class SamplingPlan(TypedDict):
    """Which engine moves the walkers."""

    kind: Literal["plan"]
    of: str
    engine: str
    batch: int
    now: int  # walkers that fit into memory at once
    paces: NotRequired[list[StepTime]]


class KernelsRecord(FastPathChoice):
    """How the model is computed."""

    kind: Literal["kernels"]
    of: str


Record = Unit | Begin | Lost | Output | SamplingPlan | KernelsRecord


class InputFile(TypedDict):
    """An input of a run."""

    path: str
    sha256: str
    size: int


class RunResult(TypedDict):
    """How an invocation ended."""

    exit_code: int
    ended: float
    finished: bool  # nothing is left to do
    outputs: dict[str, str]  # sha256 by absolute path
    retry: bool  # something failed for the machine's reasons, and the next invocation tries it again
    keys: list[str]  # the `of` of this run's units
    summary: Summary


class RunRecord(TypedDict, total=False):
    """run.json."""

    run: str
    command: str
    argv: list[str]
    cwd: str
    fingerprint: str
    settings: Mapping[str, object]
    inputs: list[InputFile]
    outputs: list[str]
    site: Mapping[str, object]
    versions: dict[str, str]
    host: str
    pid: int
    slurm_job_id: str | None
    started: float
    total: int
    round: int
    result: RunResult


class BlockRecord(TypedDict):
    """A job of a batch system."""

    state: str
    since: float
    asked: float  # when it was submitted
    queued: NotRequired[float]  # seconds it waited
    reason: NotRequired[str]  # why it waits, in the queue's words


class NodeRecord(TypedDict):
    """A node on which blocks or workers have failed, or a GPU of one."""

    failed_blocks: int
    last_words: str  # of the block that failed last, or why it is left out
    excluded: bool  # no further block, or task, goes there


class BlocksRecord(TypedDict, total=False):
    """blocks.json."""

    executor: str
    type: str  # the provider's
    clusters: str
    jobs: dict[str, BlockRecord]
    doubtful: list[str]  # names of jobs that may have been submitted, though the batch system did not say so
    nodes: dict[str, NodeRecord]
    refused: str  # why the batch system has taken no job since the last one
    earlier: list[BlocksRecord]  # of commands before, jobs that could not be cancelled yet


class JobCost(TypedDict):
    """A job that runs."""

    cores: int
    began: float


class CostRecord(TypedDict):
    """cost.json."""

    seen: float  # when the jobs below still ran
    ended_core_s: float  # of all that have ended
    running: dict[str, JobCost]


class Holder(TypedDict, total=False):
    """The lock: who holds a run directory."""

    host: str
    pid: int
    started: str  # clock ticks since boot: a pid may be used again
    slurm_job_id: str | None


class TrainingFacts(TypedDict):
    """What a training leaves in model.toml; a bare model file has only the first three."""

    family: str
    members: int
    elements: list[str]
    cutoff: NotRequired[float]  # Å
    dtype: NotRequired[str]
    unfinished: NotRequired[bool]  # the time ended the training
    trainer: NotRequired[str]
    psiflow: NotRequired[str]
    data_sha256: NotRequired[str]
    train_frames: NotRequired[int]
    valid_frames: NotRequired[int]
    heads: NotRequired[list[str]]  # see `ModelFacts`
    head_energies: NotRequired[dict[str, dict[str, float]]]  # eV
    seed: NotRequired[int]
    seeds: NotRequired[list[int]]  # of each member
    bootstrap: NotRequired[bool]  # whether members have samples of the data of their own
    init: NotRequired[str]  # fingerprint of the model that the training started from
    init_head: NotRequired[str]  # the head of that model that it started from, where there are several
    init_weights: NotRequired[dict[str, str]]  # sha256 by path in that bundle
    replayed_frames: NotRequired[int]
    atomic_energies: NotRequired[dict[str, float]]  # eV
    configuration: NotRequired[Config]
    files: NotRequired[dict[str, str]]  # sha256 of those that the user's configuration names
    epochs: NotRequired[list[int]]  # of each member


class BundleFacts(TrainingFacts):
    """model.toml."""

    weights: dict[str, str]  # sha256 by path in the bundle
    foreign: NotRequired[bool]  # a bare model file, which no bundle describes; not in any file
    terms: NotRequired[list[Term]]  # of a sum
    requires: NotRequired[list[str]]  # modules that its terms need
    runs_as: NotRequired[str]  # the family by which a site names where it runs, if not its own
    frame_inputs: NotRequired[list[str]]  # what it reads of a frame besides its structure
    data: NotRequired[dict[str, str]]  # sha256 of the training data, by path in the bundle


EnvironmentMarker = TypedDict(
    "EnvironmentMarker",
    {
        "family": str,
        "finished": "str | Literal[False]",  # when; False while it is made
        "kept": list[str],  # what was in the folder before
        "python": str,
        "parsl": str,
        "psiflow": str,
        "code": str,  # what tells one psiflow from another
        "modules": list[str],  # of the back ends' modules, those that it has
        "with": list[str],  # requirements that the user has added
        "entries": list[str],  # what psiflow has put into the folder
    },
    total=False,
)
"""psiflow-env.json in a workers' environment that psiflow made."""


class MemberErrors(TypedDict):
    """Validation errors (`rmse` and `mae`) of the weights that were kept:
    meV/atom, meV/Å, meV/Å³."""

    member: int
    epoch: int | None  # whose weights these are
    epochs: int | None
    energy: NotRequired[dict[str, float]]
    forces: NotRequired[dict[str, float]]
    stress: NotRequired[dict[str, float]]


class ModelReport(BundleFacts):
    """What `model show --json` says."""

    model: str
    fingerprint: str
    finished: bool
    size: int  # bytes
    errors: list[MemberErrors]
    compiled: list[str]
    calibration: NotRequired[Calibration]
    settings: dict[str, object]  # the main ones
