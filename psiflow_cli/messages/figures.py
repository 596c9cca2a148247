"""What is drawn on a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import NotRequired

    from psiflow_cli.messages.frames import Labels, Prediction
    from psiflow_cli.messages.models import Epoch


class ComparedFrame(TypedDict):
    """A frame of a parity plot."""

    symbols: list[str]
    config_type: str
    label: Labels
    prediction: Prediction


class GroupError(TypedDict):
    """The error of a quantity over a group of frames or atoms."""

    quantity: str  # energy, forces or stress
    by: str  # `all`, `element` or `config_type`
    group: str
    rmse: float  # meV/atom, meV/Å or MPa, as `mae`
    mae: float
    count: int


class Comparison(TypedDict):
    """What a parity plot is drawn of."""

    frames: list[ComparedFrame]  # all, or some of very many
    errors: Sequence[GroupError]  # of all frames


class Curve(TypedDict):
    """The training of one member of a model."""

    model: str  # a name for the legend; members of one model have the same
    epochs: list[Epoch]
    delivered: NotRequired[int]  # the epoch whose weights were kept
    stage_two: NotRequired[int]  # the first epoch of the second stage, if there is one


class DrawnWalker(TypedDict):
    """A walker of a sampling, beside its rows in a CSV file."""

    walker: int
    name: NotRequired[str]  # other than `walker N`
    start: int  # walkers of one number began with the same frame
    atoms: int  # 0 where it is not known
    target: list[float] | None  # the thermostat's [at the first, at the last step] in K
    stopped: bool


class RmseOfModel(TypedDict):
    """The errors of one evaluation."""

    name: str
    energy: NotRequired[float]  # meV/atom
    forces: NotRequired[float]  # meV/Å
    stress: NotRequired[float]  # MPa


class Viewer(TypedDict, total=False):
    """Frames to be looked at in a page, or what is missing for that."""

    data: str  # a file: a data set in chemiscope's JSON
    script: str  # a file: its program
    missing: str


class DrawnSeries(TypedDict):
    """Molecular dynamics to be drawn."""

    source: str  # a table, see `worker.plots.time_series`
    shown: dict[str, object]  # what the figure says beside it


class Pictures(TypedDict, total=False):
    """What was drawn for the page of `psiflow report`; nothing where there is nothing to draw."""

    errors: str  # a PNG of the errors against the evaluations, or ""
    plots: dict[str, str]  # parity plots by the name of their evaluation
    series: dict[str, str]  # of molecular dynamics, by the name of the run
    worst: str  # a PNG of the frames that are most wrong, or ""
    viewer: Viewer
    missing: str  # why there are no pictures
