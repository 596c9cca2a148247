"""Structures, where a task runs, and what a task finds out about a structure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypedDict, final

if TYPE_CHECKING:
    from typing_extensions import NotRequired

Settings = Mapping[str, Any]  # a back end's own settings, in its own names; only that back end reads them
Vectors = list[list[float]]  # [N][3]
Voigt = list[float]  # xx, yy, zz, yz, xz, xy in eV/Å³; positive under tension, as ASE has it

FailureClass = Literal[
    "unconverged", "crashed", "timeout", "out-of-memory", "inconsistent", "invalid-input", "worker-lost"
]


class Frame(TypedDict):
    """A structure."""

    id: str  # 16 hex digits; see `extxyz.frame_id`
    symbols: list[str]
    positions: Vectors  # [N][3] in Å
    cell: Vectors | None  # [3][3] in Å, one vector a row
    pbc: list[bool]  # [3]
    charge: NotRequired[int]
    multiplicity: NotRequired[int]
    moments: NotRequired[list[float]]  # initial ones of the atoms, in Bohr magnetons
    fixed: NotRequired[list[int]]  # atoms that do not move, from 0
    masses: NotRequired[list[float] | dict[str, float]]  # in u: of every atom, or of some elements
    momenta: NotRequired[Vectors]  # [N][3] in sqrt(u·eV), as ASE has them
    velocities: NotRequired[Vectors]  # [N][3] in sqrt(eV/u), as ASE has them; not beside momenta


class Context(TypedDict):
    """Where and with what a task runs."""

    scratch: str  # folder for temporary files
    keep_scratch: bool
    logs: str  # folder for logs that stay
    device: str  # `cpu` or `cuda`
    dtype: str | None  # `float32`, `float64` or None: the model's own
    kernels: NotRequired[str]  # how a model is computed: see `worker.models.kernels.fast_paths`
    calls: NotRequired[int]  # about so often the model is called in this run, on one worker
    cores: int
    ranks: int
    threads: int
    gpus: int
    memory: int | None  # MB
    walltime: float | None  # s
    launch: str  # template of the command that starts a program, or ""
    executable: str
    env: dict[str, str]
    cpus: list[int] | None  # of this worker alone; only the worker knows them
    modules: list[str]
    source: list[str]
    head: NotRequired[str]  # the one that predicts, of a model that has several


@final  # so that a result which has a `failure` is none
class Label(TypedDict):
    """What a reference computes for a frame."""

    energy: float  # eV
    forces: Vectors  # [N][3] in eV/Å
    stress: Voigt | None
    code: str  # code and version, such as `CP2K 2023.1`
    info: NotRequired[dict[str, float | list[float]]]  # what else was asked for, such as `dipole` (e·Å)
    arrays: NotRequired[dict[str, list[float]]]  # the same for each atom, such as charges (e)
    recovery: NotRequired[str]  # the user's change that made the SCF converge


class Failure(TypedDict):
    """Why a frame has no result."""

    failure: FailureClass
    message: str
    log: str  # a path, or ""
    recovery: NotRequired[str]


class Prediction(TypedDict):
    """What a model says of a frame; `_std` comes from a committee, `_expected_error` from one that is calibrated."""

    energy: float
    forces: Vectors
    stress: Voigt | None
    energy_std: NotRequired[float]  # eV
    forces_std: NotRequired[list[float]]  # [N] in eV/Å; see `committee.spread`
    energy_expected_error: NotRequired[float]  # eV; see `expected_error.expected`
    forces_expected_error: NotRequired[list[float]]  # [N] in eV/Å


class Labels(TypedDict):
    """What a file says of a frame; None for what is not there."""

    energy: float | None  # eV
    forces: Vectors | None  # [N][3] in eV/Å
    stress: Voigt | None


LabelResult = Label | Failure
PredictionResult = Prediction | Failure


class LastWords(TypedDict):
    """What a worker leaves that ends itself since its GPU computes nothing more."""

    place: str
    message: str


class Outcome(TypedDict):
    """What `worker.pool.call.call` returns: `value`, or `fatal` with `hint` and `exit_code`, or `error`."""

    seconds: float
    host: str
    places: NotRequired[list[str]]  # what the place of the worker is called; see `worker.pool.place`
    elsewhere: NotRequired[bool]  # it was not run, since it is to run at another place
    block: NotRequired[str]  # Parsl's number of the block whose worker ran the task
    value: NotRequired[Any]
    fatal: NotRequired[str]
    hint: NotRequired[str]
    exit_code: NotRequired[int]
    error: NotRequired[str]
    traceback: NotRequired[str]
    logs: NotRequired[list[tuple[str, bytes]]]  # names of files and their contents, for the run's archive
