"""What the page shows of the frames that `psiflow evaluate` wrote: the worst ones, and what a parity plot needs."""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli import extxyz
from psiflow_cli.errors import BadData
from psiflow_cli.stages.plot.compared import Compared, config_type, labels_and_predictions
from psiflow_cli.stages.runs.report_facts import Evaluation
from psiflow_cli.stages.select import scores

if TYPE_CHECKING:
    from psiflow_cli.messages import Frame

SHOWN = 10
Read = Callable[[str], Iterator[extxyz.Frame]]
"""Reads a file in whatever format; see `Workspace.read`."""
PLOTTED = 2_000  # so many frames of a file, evenly spaced, are in a parity plot


@dataclass(frozen=True)
class Wrong:
    """A frame, and how wrong the model is there."""

    error: float  # eV/Å: the largest norm of the error of the force on an atom
    line: int
    frame: int
    natoms: int
    config_type: str
    message: Frame


@dataclass
class Worst:
    """The frames whose forces are most wrong, the worst first."""

    frames: list[Wrong] = field(default_factory=list)
    cut: str = ""  # why the file was not read to its end


def worst(evaluation: Evaluation, read: Read) -> Worst:
    """One pass over the file, a few frames in memory."""
    result = Worst()
    held: list[tuple[float, int, Wrong]] = []
    keys = _keys(evaluation)
    for frame in _readable(evaluation, read, result):
        _note(frame, keys, held)
    result.frames = [wrong for _, _, wrong in sorted(held, key=lambda each: (-each[0], -each[1]))]
    return result


def write_parity(evaluation: Evaluation, read: Read, path: Path) -> bool:
    """Labels and predictions, as `figures.PARITY` reads them; returns whether there are any."""
    compared = Compared(evaluation.frames, PLOTTED)
    keys = _keys(evaluation)
    for frame in _readable(evaluation, read, Worst()):
        with contextlib.suppress(BadData):  # of numbers that somebody has changed
            if labelled := labels_and_predictions(frame, keys):
                compared.add(frame, *labelled)
    return compared.write(path)


def _keys(evaluation: Evaluation) -> dict[str, str] | None:
    return extxyz.parse_keys(evaluation.keys) if evaluation.keys else None


def _readable(evaluation: Evaluation, read: Read, result: Worst) -> Iterator[extxyz.Frame]:
    """The frames, until one cannot be read, since somebody has changed the file."""
    assert evaluation.file is not None
    try:
        yield from read(str(evaluation.file))
    except BadData as error:
        result.cut = error.message


def _note(frame: extxyz.Frame, keys: dict[str, str] | None, held: list[tuple[float, int, Wrong]]) -> None:
    """Hold a frame if it is among the worst so far."""
    try:
        error = scores.of_frame(frame, "error", "max", keys)
    except BadData:
        return  # without labels, or without predictions
    place = frame.place
    if len(held) < SHOWN or (error, -place.index) > held[0][:2]:
        kind = config_type(frame)
        wrong = Wrong(error, place.line, place.index, frame.natoms, kind, extxyz.message(frame))
        push = heapq.heappush if len(held) < SHOWN else heapq.heapreplace
        push(held, (error, -place.index, wrong))
