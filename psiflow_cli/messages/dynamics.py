"""Molecular dynamics: what an engine is asked to do, and what it reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from typing_extensions import NotRequired, Required

    from psiflow_cli.messages.calibration import ErrorScale
    from psiflow_cli.messages.frames import Frame, Vectors
    from psiflow_cli.messages.models import FastPathChoice, ModelWeights


class Conditions(TypedDict, total=False):
    """Under which a walker moves."""

    temperature: Required[list[float]]  # [at the first, at the last step] in K
    pressure: float  # bar, where there are several
    window: dict[str, float]  # values of the names in PLUMED's input


class WalkerStart(Conditions):
    """Where a walker begins."""

    walker: int
    start: Frame


class Limits(TypedDict, total=False):
    """Where a walker is stopped; None: never."""

    force: float | None  # eV/Å
    temperature: float | None  # K
    distance: float | None  # Å
    spread: float | None  # eV/Å: of a committee's forces or, with `error_scale`, of their expected errors
    error_scale: ErrorScale  # of a calibrated committee


class DynamicsOptions(TypedDict):
    """What options of `sample` say of the dynamics, by their names."""

    ensemble: str  # `nve`, `nvt`, `npt` or `nvst`
    thermostat: str  # `langevin`, `csvr` or `nose-hoover`
    timestep: float  # fs
    friction: float  # 1/ps
    cell: str  # `isotropic` or `flexible`
    exchange: int | None  # steps between trials
    beads: int
    every: int  # steps between recorded frames
    seed: int


class DynamicsFile(TypedDict):
    """What the file of `sample --config` says of the dynamics."""

    thermostat_time: float  # fs
    chain_length: int
    barostat_time: float  # fs
    masses: dict[str, float]  # u, by element
    fixed: list[int]


class Dynamics(DynamicsOptions, DynamicsFile):
    """How all walkers of a sampling move."""

    pressure: float  # bar: of all walkers that have no own
    ramp_steps: int | None
    velocities: NotRequired[bool]  # whether frames have the momenta
    plumed: str | None
    plumed_files: NotRequired[dict[str, str]]  # text of each file that the input of PLUMED names
    plumed_hills: NotRequired[str]  # text of earlier hills, from which METAD begins
    share_bias: NotRequired[bool]  # whether the walkers fill one bias together
    limits: Limits


class MDJob(Dynamics):
    """A block of a group of walkers."""

    folder: str
    walkers: list[WalkerStart]
    model: ModelWeights
    steps: int  # in all
    block: int  # steps of this call, at most
    batch: int  # walkers that a model is given at once
    shared_bias: NotRequired[dict[str, str]]  # the folders of PLUMED of all walkers that share a bias, by number


class PlumedFile(TypedDict):
    """What a checkpoint counts of a file that a walker's PLUMED writes."""

    bytes: int
    sha256: str  # of these bytes
    copy: str | None  # the folder of a copy, where PLUMED may rewrite the file


class PlumedState(TypedDict):
    """What a walker's PLUMED goes on from."""

    files: dict[str, PlumedFile]  # by name
    minima: dict[str, list[float]]  # of the actions ABMD, by label
    energy: float  # of the bias at the step of the checkpoint (eV), before hills are added there
    forces: Vectors  # eV/Å
    virial: Vectors  # dE/d(strain), in eV


class Violation(TypedDict):
    """What is wrong with a walker."""

    reason: str
    kind: str  # `force`, `temperature`, `distance`, `spread`, `cell`, `nan`, or a class of failure


class Stop(Violation):
    """Why a walker goes no further."""

    step: int


class WalkerReport(TypedDict):
    """How far a walker is."""

    step: int
    frames: int
    bytes: int  # of the trajectory that hold the frames
    stopped: Stop | None


class BlockReport(TypedDict):
    """What an engine returns."""

    walkers: list[WalkerReport]
    seconds: float
    batch: NotRequired[int]  # where memory made it smaller
    kernels: NotRequired[FastPathChoice]  # how the model is computed, where that was measured


class StepTime(TypedDict):
    """How fast an engine moves walkers."""

    engine: str
    batch: int
    seconds: float  # of one step of the whole batch


class EngineTimes(TypedDict):
    """What a measurement of the engines has shown."""

    times: list[StepTime]
    left_out: dict[str, str]  # {engine: why it was not measured, or not with a larger batch than in `times`}


class ExchangeRate(TypedDict):
    """Of the exchanges between two values of a temperature, a pressure or a name of `--vary`."""

    axis: str
    between: list[float]
    tried: int
    accepted: int
    rate: float
