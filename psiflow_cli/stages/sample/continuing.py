"""Walkers that go on from where an earlier sampling left them, and those that go back to their start."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, cast

from psiflow_cli import extxyz
from psiflow_cli.errors import BadData, counted

if TYPE_CHECKING:
    from psiflow_cli.messages import Vectors

UNITS = {"forces": "meV/Å", "energy": "meV/atom"}


@dataclass(frozen=True)
class Reset:
    """The error of a walker's frame above which it goes back to its start."""

    quantity: str  # of UNITS
    limit: float  # in the quantity's unit; of forces the root mean square of the frame's components

    def error(self, frame: extxyz.Frame) -> float:
        """The error of what a model predicted for a labelled frame. Raises BadData where either is missing."""
        label = extxyz.labels(frame)
        if self.quantity == "energy":
            energy, predicted = label["energy"], frame.info.get("model_energy")
            if energy is not None and isinstance(predicted, (int, float)):
                return 1000 * abs(predicted - energy) / frame.natoms
        elif (forces := label["forces"]) is not None and frame.layout.find("model_forces"):
            columns = cast("Vectors", frame.column("model_forces"))
            differences = map(math.dist, forces, columns)
            return 1000 * math.sqrt(sum(d * d for d in differences) / (3 * frame.natoms))
        problem = (
            f"{frame.where}: --reset compares {self.quantity} with model_{self.quantity}, and one of them is missing"
        )
        raise BadData(problem, "label the --final frames, then add the predictions: psiflow evaluate LABELLED --model")


def places(path: str, reset: Reset | None) -> tuple[dict[int, extxyz.Frame], dict[int, str]]:
    """Where walkers go on, by their numbers, and why others go back. Raises BadData."""
    continued: dict[int, extxyz.Frame] = {}
    why: dict[int, str] = {}
    for frame in extxyz.read(path):
        number = frame.info.get("walker")
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:
            problem = f"{frame.where}: walker is {number!r}, which is not a walker number"
            raise BadData(problem, "give --continue the file that --final of an earlier psiflow sample wrote")
        if number in continued or number in why:
            raise BadData(f"{frame.where}: walker {number} occurs twice", "keep one frame for each walker")
        error = reset.error(frame) if reset else 0.0
        if reset and not error <= reset.limit:
            why[number] = (
                f"its error of {reset.quantity}, {error:.4g} {UNITS[reset.quantity]}, is above {reset.limit:g}"
            )
        else:
            continued[number] = frame
    return continued, why


def check(
    path: str, starts: Mapping[int, extxyz.Frame], continued: Mapping[int, extxyz.Frame], numbers: set[int]
) -> None:
    """Raise BadData where a frame belongs to no walker, or to one of other atoms."""
    for number in sorted(numbers - set(starts)):
        problem = f"{path} has a walker {number}, but this run has {counted(len(starts), 'walker')}, numbered from 0"
        raise BadData(problem, "give the FRAMES and --walkers of the run that wrote it")
    for number, frame in continued.items():
        if frame.symbols != starts[number].symbols or frame.pbc != starts[number].pbc:
            problem = f"{frame.where}: walker {number} differs from {starts[number].where} in its atoms or pbc"
            raise BadData(problem, "give the FRAMES of the run that wrote it, in the same order")


def summary(path: str, total: int, continued: Mapping[int, extxyz.Frame], why: Mapping[int, str]) -> str:
    """How many walkers go on, and why others do not."""
    reasons = {number: why.get(number, f"not in {path}") for number in range(total) if number not in continued}
    lines = [f"{len(continued)} of {total} walkers continue from {path}"]
    return "; ".join(chain(lines, (f"walker {number} starts again: {reason}" for number, reason in reasons.items())))
