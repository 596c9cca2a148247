"""What the page shows of the frames that `psiflow evaluate` wrote: the worst ones, and what a parity plot needs."""

from __future__ import annotations

import contextlib
import heapq
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli import extxyz
from psiflow_cli.errors import BadData
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
    """Labels and predictions, as `worker.plots.parity.parity_file` reads them; returns whether there are any."""
    step = max(1, evaluation.frames // PLOTTED)
    keys = _keys(evaluation)
    rows = []
    for index, frame in enumerate(_readable(evaluation, read, Worst())):
        if index % step == 0:
            with contextlib.suppress(BadData):  # of numbers that somebody has changed
                both = {"label": extxyz.labels(frame, keys), "prediction": _prediction(frame)}
                rows.append({"symbols": frame.symbols, "config_type": str(frame.info.get("config_type", "")), **both})
    path.write_text(json.dumps({"frames": rows}))
    return any(row["prediction"] for row in rows)


def _keys(evaluation: Evaluation) -> dict[str, str] | None:
    return extxyz.parse_keys(evaluation.keys) if evaluation.keys else None


def _readable(evaluation: Evaluation, read: Read, result: Worst) -> Iterator[extxyz.Frame]:
    """The frames, until one cannot be read, since somebody has changed the file."""
    assert evaluation.file is not None
    try:
        yield from read(str(evaluation.file))
    except BadData as error:
        result.cut = error.message


def _prediction(frame: extxyz.Frame) -> dict[str, object]:
    """What `evaluate` has written into a frame, by the names of the labels."""
    prediction: dict[str, object] = {}
    for name in extxyz.LABELS:
        key = f"model_{name}"
        if key in frame.info or frame.layout.find(key):
            prediction[name] = extxyz.label(frame, name, {name: key})
    if "model_energy_std" in frame.info:
        prediction |= {"energy_std": frame.info["model_energy_std"], "forces_std": frame.column("model_forces_std")}
    if "model_energy_expected_error" in frame.info:
        prediction["energy_expected_error"] = frame.info["model_energy_expected_error"]
    if frame.layout.find("model_forces_expected_error"):
        prediction["forces_expected_error"] = frame.column("model_forces_expected_error")
    return prediction


def _note(frame: extxyz.Frame, keys: dict[str, str] | None, held: list[tuple[float, int, Wrong]]) -> None:
    """Hold a frame if it is among the worst so far."""
    try:
        error = scores.of_frame(frame, "error", "max", keys)
    except BadData:
        return  # without labels, or without predictions
    place = frame.place
    if len(held) < SHOWN or (error, -place.index) > held[0][:2]:
        kind = str(frame.info.get("config_type", ""))
        wrong = Wrong(error, place.line, place.index, frame.natoms, kind, extxyz.message(frame))
        push = heapq.heappush if len(held) < SHOWN else heapq.heapreplace
        push(held, (error, -place.index, wrong))
