"""Potentials: families that psiflow trains in `models/`, others that it only runs in `potentials/`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from psiflow_cli.protocols.back_end import BackEnd

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ase.calculators.calculator import Calculator
    from numpy import ndarray
    from torch_sim.models.interface import ModelInterface

    from psiflow_cli.messages.frames import Context, Failure, Frame, PredictionResult
    from psiflow_cli.messages.models import (
        CompiledModel,
        Config,
        Epoch,
        NamedFile,
        TrainedMember,
        TrainingData,
        TrainingJob,
    )

SIZES = {"small": 0, "medium": 1000, "large": 10_000}
"""Sizes of models, each with the number of training frames from which on it is the default.

With few frames the data limit the errors, and a large model only takes longer; with many, a small one does.
"""


@runtime_checkable
class Potential(BackEnd, Protocol):
    """What predicts energies, forces and stresses."""

    def predict(self, frames: list[Frame], members: list[str], context: Context) -> list[list[PredictionResult]]:
        """*worker*: for each member, a prediction or a failure for each frame, batched."""

    def calculator(self, member: str, context: Context) -> Calculator:
        """*worker*: an ASE calculator on one member's weights folder."""


@runtime_checkable
class Model(Potential, Protocol):
    """A family of potentials that can be trained."""

    def plan(self, config: Config, options: dict[str, str], summary: TrainingData) -> Config:
        """The trainer's full configuration, in the trainer's own names, in the command's process.

        `config` is the user's file, `options` the `--set` pairs (they win). To a file (`summary["as_given"]`) nothing
        is added but what psiflow owns: data, seed, device, atomic energies, names of files. Raises BadSettings with all
        that is refused, such as an option that contradicts the model to start from.
        """

    def train(self, job: TrainingJob, context: Context) -> TrainedMember:
        """*worker*: run the trainer in `job["workdir"]` and go on from what an earlier run left there.

        It stops by itself so early that the best model so far is there within `job["seconds"]` of the call; one epoch
        is always trained.
        """

    def epochs(self, config: Config) -> int:
        """How many epochs a configuration from `plan` asks for."""

    def progress(self, workdir: Path) -> list[Epoch]:
        """The finished epochs so far, read from the trainer's own files."""


@runtime_checkable
class Delivers(Protocol):
    """A family whose trainings can be stopped at any time, and then have a model.

    Its `train` ends as soon as it can when it is asked to (`worker.training.stop_request`), and then only makes a model
    of the best checkpoint, if there is one.
    """

    def delivered(self, workdir: Path, latest: bool = True) -> TrainedMember | None:
        """The model that is ready to be taken from the folder of a training; with `latest`, only the best so far."""


@runtime_checkable
class ReadsFiles(Protocol):
    """A family whose trainer's bare model files can be used in place of a bundle."""

    FILES: tuple[str, ...]  # how their names end


@runtime_checkable
class HasParts(Protocol):
    """A family whose model files need others beside them."""

    def parts(self, file: Path) -> list[str]:
        """Their absolute paths, in the folder of the file or below."""


@runtime_checkable
class ReadsFrames(Protocol):
    """A family whose models may read more of a frame than its structure."""

    FRAME_INPUTS: tuple[str, ...]  # see `Reference.FRAME_INPUTS`


@runtime_checkable
class TrainsInStages(Protocol):
    """A family whose trainer may weigh the losses otherwise from some epoch on."""

    def stage_two(self, config: Config) -> int | None:
        """The first epoch of the second stage, as `progress` counts them; None without one."""


@runtime_checkable
class HasHeads(Protocol):
    """A family whose models may have several heads, one for each method they were trained on."""

    def heads(self, file: Path) -> list[str]:
        """Their names in a weights file, of which nothing is run; none where that cannot be told."""


@runtime_checkable
class TrainsHeads(Protocol):
    """A family that trains a head for each method among the frames."""

    TRAINS_HEADS: bool


@runtime_checkable
class HasMainSettings(Protocol):
    """A family that names the settings which tell its models apart."""

    MAIN_SETTINGS: tuple[str, ...]  # dotted names of what `psiflow model show` shows of the configuration


@runtime_checkable
class HasExtra(Protocol):
    """A family that another one's environment serves."""

    EXTRA: str  # the extra of pyproject.toml that installs what it needs


@runtime_checkable
class Exports(Protocol):
    """A family whose models other programs can read."""

    EXPORTS: dict[str, dict[str, str]]  # {target: {format: how its files end ("" for a folder)}}, the usual first

    def export(self, members: list[str], target: str, form: str, folder: str, context: Context) -> str:
        """*worker*: the file or folder made in `folder`."""


@runtime_checkable
class ExportsCommittees(Protocol):
    """A family with targets that take all members at once; others take one."""

    WHOLE_COMMITTEES: tuple[str, ...]


@runtime_checkable
class Compiles(Protocol):
    """A family whose models can be compiled for a machine."""

    COMPILES: dict[str, str]  # {target: how its compiled files end}, the usual first

    def compile(self, member: str, target: str, folder: str, context: Context) -> CompiledModel:
        """*worker*: a compiled model in `folder`."""


@runtime_checkable
class Describes(Protocol):
    """A family that can describe atoms by numbers."""

    def features(self, frames: list[Frame], member: str, context: Context) -> Sequence[ndarray | Failure]:
        """*worker*: of each frame, shape (atoms, width); the same however it is turned, moved or written."""


@runtime_checkable
class Batches(Protocol):
    """A family that torch-sim can move."""

    def torchsim(self, member: str, context: Context, stress: bool) -> ModelInterface:
        """*worker*: torch_sim's ModelInterface on a member's weights."""


class FastPath(Protocol):
    """What `worker.models.kernels.fast_paths.FastPath` says of a way to compute a model."""

    @property
    def install(self) -> str:
        """What pip installs for it; `{cuda}` is the major version of CUDA."""

    @property
    def needs_compiler(self) -> bool:
        """Whether that needs a compiler."""


@runtime_checkable
class HasFastPaths(Protocol):
    """A family that torch-sim can move in several ways, of which the fastest is chosen by measuring.

    Its `torchsim` takes the name of one, `eager` or "" (what the family takes by itself) as `path`, and as `build`
    whether one that is not there may take minutes to make.
    """

    FAST_PATHS: tuple[FastPath, ...]


@runtime_checkable
class TakesGraphs(Protocol):
    """A family that torch-sim can move, and whose models take pairs of atoms that are found elsewhere."""

    def graph_model(self, interface: ModelInterface) -> object | None:
        """*worker*: the `worker.models.graphs.GraphModel` of an interface that `torchsim` made.

        None for one that must find its pairs itself.
        """


@runtime_checkable
class NamesFiles(Protocol):
    """A family whose configuration may name files to read."""

    def named_files(self, config: Config, options: dict[str, str]) -> list[NamedFile]:
        """Those that the user's file and `--set` pairs name; the worker gets their paths in `TrainingJob.files`."""


@runtime_checkable
class NeedsMore(Protocol):
    """A family whose trainer needs more packages for some settings, such as those of a logger."""

    def packages(self, config: Config) -> dict[str, str]:
        """The modules that a configuration from `plan` needs, each with the setting that needs it."""


@runtime_checkable
class Notes(Protocol):
    """A family that has something to say about a plan."""

    def notes(self, config: Config, summary: TrainingData) -> list[str]:
        """What `plan` has let pass, but the user should know."""
