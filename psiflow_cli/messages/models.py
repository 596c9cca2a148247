"""Trained models, and trainings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from typing_extensions import NotRequired

    from psiflow_cli.messages.frames import Settings

Config = dict[str, Any]  # a trainer's full configuration, in the trainer's own names


class ModelWeights(TypedDict):
    """A trained model, for a worker."""

    family: str  # a name, a module, or a `file.py`
    members: list[str]  # folders; more than one is a committee, whose mean counts
    weights: NotRequired[dict[str, str]]  # sha256 by path, checked before the files are read


class SumTerm(TypedDict):
    """A term of one member of a sum, in `sum.json`: a model's weights or, without `member`, a reference."""

    factor: float
    what: str  # as the user wrote it
    family: NotRequired[str]
    member: NotRequired[str]  # its weights, by path in the bundle
    head: NotRequired[str]
    reference: NotRequired[str]  # its name, or the path in the bundle of a file of the user's own
    settings: NotRequired[Settings]  # of the reference


class Term(TypedDict):
    """A term of a sum in model.toml."""

    factor: float
    what: str  # as the user wrote it
    sha256: str  # of a model: over those of its weights; of a reference: over its settings and its file
    family: NotRequired[str]  # of a model
    folder: NotRequired[str]  # in the bundle, with what a model or a file of the user's own consists of
    members: NotRequired[int]
    elements: NotRequired[list[str]]
    head: NotRequired[str]
    reference: NotRequired[str]


class TrainingData(TypedDict):
    """What a family has to know of the data to plan a training."""

    elements: list[str]
    frames: int
    valid_frames: int
    stress: bool  # every frame has one
    some_stress: bool  # at least one frame has one
    periodic: bool
    weighted: str  # where a frame counts more or less than others, or ""
    e0s: dict[str, float] | str  # eV by symbol, or how they come about: see `stages.train.e0s.WAYS`
    dtype: NotRequired[str]  # if the site asks for one
    gpus: NotRequired[int]  # that train together, if more than one: each takes batches of its own
    size: NotRequired[str]  # which of psiflow's own defaults: one of `protocols.model.SIZES`
    as_given: NotRequired[bool]  # to the user's configuration file nothing is added but what psiflow owns
    valid_stress: NotRequired[bool]  # at least one validation frame has a stress
    init: NotRequired[Config]  # the configuration of the model to start from; empty for a bare model file
    head: NotRequired[str]  # the head of that model to start from, where it has several
    heads: NotRequired[dict[str, dict[str, float] | str]]  # `e0s` of each head, where several are trained


class NamedFile(TypedDict):
    """A file to read that a trainer's configuration names."""

    setting: str
    name: str
    module: bool  # a Python module or package of the user's, by its first name: without a file it must be installed


class TrainingJob(TypedDict):
    """One member's training."""

    workdir: str
    train: str  # extended XYZ with energy, forces, stress, config_type, config_weight
    valid: str
    config: Config
    seed: int
    init: NotRequired[str]  # a member's folder, or a trainer's bare model file, to start from
    files: NotRequired[dict[str, str]]  # absolute paths of the files that the configuration names, by the name there
    seconds: NotRequired[float | None]  # how long it may take


class Epoch(TypedDict, total=False):
    """A finished epoch; errors are of the validation set, which not every epoch may be measured on."""

    epoch: int
    loss: float | None  # mean over the training batches
    valid_loss: float
    lr: float  # the learning rate in this epoch
    stage: int  # 1 or 2, of a training in two stages
    rmse_e_meV_per_atom: float
    mae_e_meV_per_atom: float
    rmse_f_meV_per_A: float
    mae_f_meV_per_A: float
    rmse_stress_meV_per_A3: float
    mae_stress_meV_per_A3: float


class ModelFacts(TypedDict):
    """What a model file says of itself."""

    elements: list[str]
    cutoff: float  # Å
    dtype: str
    atomic_energies: dict[str, float]  # eV, of isolated atoms; of several heads, those of the last
    heads: NotRequired[list[str]]  # one for each method it was trained on; families without heads have none
    head_energies: NotRequired[dict[str, dict[str, float]]]  # eV, of isolated atoms, where there are several heads


class TrainerFacts(ModelFacts):
    """What a trainer leaves beside its result."""

    trainer: str  # name and version
    epoch: int  # of the weights
    stage: NotRequired[int]  # of the weights: 1 or 2, where the trainer has two stages with different losses
    finished: bool  # False if the training was stopped before its end
    configuration: NotRequired[Config]  # all that the trainer used, its own defaults included, less paths


class Delivery(TrainerFacts):
    """The best model so far in the folder of a training."""

    file: str  # the model's, below that folder


class TrainedMember(TrainerFacts):
    """What a trainer delivers."""

    weights: list[str]  # paths
    logs: list[str]  # paths
    metrics: Epoch  # of the epoch whose weights these are


class Machine(TypedDict):
    """What two machines must share for one to run what was compiled on the other."""

    torch: str  # its version
    system: str
    device: str  # the GPU's name, or 16 hex digits of what the CPU can do


class CompiledModel(TypedDict):
    """A compiled model as the worker leaves it."""

    path: str
    dtype: str
    elements: list[str]
    machine: Machine


class CompiledRecord(TypedDict):
    """The JSON beside a compiled model."""

    sha256: str
    weights: str  # sha256 of those it was made of
    dtype: str
    elements: list[str]
    machine: Machine


class FastPathChoice(TypedDict):
    """The JSON beside weights of how a model is computed fastest; see `worker.models.kernels.fast_paths`."""

    path: str  # the name of the one that is taken
    device: str
    atoms: int  # in the batch that was measured
    ms: dict[str, float]  # of one call, by path
    refused: dict[str, str]  # why others are not taken
    install: list[str]  # what pip could install for further ones


class MemberMetrics(Epoch):
    """What metrics.json says of a member: of the epoch whose weights were kept, and:"""

    epochs: int
    last: Epoch  # the last epoch
    stage: NotRequired[int]  # that the weights are of, where the trainer has two
