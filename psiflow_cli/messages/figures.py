"""What is drawn on a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from typing_extensions import NotRequired

    from psiflow_cli.messages.frames import Labels, Prediction


class ComparedFrame(TypedDict):
    """A frame of a parity plot."""

    symbols: list[str]
    config_type: str
    label: Labels
    prediction: Prediction


class DrawnWalker(TypedDict):
    """A walker of a sampling, beside its rows in a CSV file."""

    walker: int
    start: int  # walkers of one number began with the same frame
    atoms: int
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


class Pictures(TypedDict):
    """What was drawn for the page of `psiflow report`."""

    errors: str  # a PNG of the errors against the evaluations, or ""
    plots: dict[str, str]  # parity plots by the name of their evaluation
    viewer: Viewer
    missing: NotRequired[str]  # why there are no pictures
