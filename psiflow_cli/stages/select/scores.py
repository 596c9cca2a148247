"""How much a frame is worth labelling: how far a committee disagrees about it, or how wrong a model is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, cast

from psiflow_cli import extxyz
from psiflow_cli.errors import BadData
from psiflow_cli.extxyz import Frame
from psiflow_cli.extxyz.labelling import near_names

if TYPE_CHECKING:
    from psiflow_cli.messages import Prediction, Vectors

OF_ATOMS: dict[str, Callable[[Sequence[float]], float]] = {"max": max, "mean": fmean}
"""What of the atoms' values is the frame's score."""

EXPECTED = "model_forces_expected_error"
"""The column by which frames of a calibrated committee are judged, in place of the spread."""


class Kinds:
    """What is scored: all frames must be judged by the same."""

    def __init__(self, by: str, calibrated: bool) -> None:
        self._by = by
        self._first: dict[bool, str] = {calibrated: ""} if calibrated else {}  # where frames of each kind were seen

    def see(self, frame: Frame) -> None:
        """Note one frame. Raises BadData for an expected error beside spreads, or the reverse."""
        self._first.setdefault(bool(frame.layout.find(EXPECTED)), frame.where)
        if self._by == "committee" and len(self._first) > 1:
            problem = f"{self._first[False]}: no {EXPECTED}, but there is one in {self._first[True]}"
            raise BadData(
                problem, "frames of calibrated and other committees cannot be compared; predict all with --model"
            )

    @property
    def name(self) -> str:
        if self._by == "error":
            return "error"
        return "expected error" if True in self._first else "spread"


def of_frame(frame: Frame, by: str, of_atoms: str, keys: dict[str, str] | None) -> float:
    """The score (eV/Å) by what `evaluate` has written into a frame; raises BadData where it has not."""
    name = {"committee": "model_forces_std", "error": "model_forces"}[by]
    if by == "committee" and frame.layout.find(EXPECTED):
        name = EXPECTED
    try:
        column = frame.column(name)
    except KeyError:
        hint = "predict it with --model BUNDLE" + (" (a committee: train --members 4)" if by == "committee" else "")
        raise BadData(f"{frame.where}: no {name}", hint) from None
    if by == "committee":
        return OF_ATOMS[of_atoms](cast("list[float]", column))
    return _error(frame, cast("Vectors", column), of_atoms, keys)


def of_prediction(frame: Frame, prediction: Prediction, by: str, of_atoms: str, keys: dict[str, str] | None) -> float:
    """The same by a prediction."""
    if by == "committee":
        return OF_ATOMS[of_atoms](prediction.get("forces_expected_error", prediction["forces_std"]))
    return _error(frame, prediction["forces"], of_atoms, keys)


def _error(frame: Frame, forces: Vectors, of_atoms: str, keys: dict[str, str] | None) -> float:
    """The norm of the error of the force on each atom, and of these the largest or the mean (eV/Å)."""
    label = extxyz.labels(frame, keys)["forces"]
    if label is None:
        raise BadData(f"{frame.where}: no forces to compare with", near_names.hint(frame, keys))
    return OF_ATOMS[of_atoms]([math.dist(a, b) for a, b in zip(forces, label, strict=True)])


def ranked(places: Sequence[int], score: Sequence[float], ids: Sequence[int]) -> list[int]:
    """The largest score first; of equals, by the structure, so that the order of the input does not matter."""
    return sorted(places, key=lambda place: (-score[place], ids[place]))
