"""How much a frame is worth labelling: how far a committee disagrees about it, or how wrong a model is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean

from psiflow_cli import extxyz
from psiflow_cli.errors import BadData
from psiflow_cli.extxyz import Frame
from psiflow_cli.messages import Wire

LOOKS_AT: dict[str, Callable[[Sequence[float]], float]] = {"max": max, "mean": fmean}
"""What of the atoms' values is the frame's score."""


def of_frame(frame: Frame, by: str, of_atoms: str, keys: dict[str, str] | None) -> float:
    """The score (eV/Å) by what `evaluate` has written into a frame; raises BadData where it has not."""
    wanted = {"committee": "model_forces_std", "error": "model_forces"}[by]
    try:
        column = frame.column(wanted)
    except KeyError:
        raise BadData(
            f"{frame.where}: no {wanted}",
            "--model BUNDLE predicts it" + (" (a committee: train --members 4)" if by == "committee" else ""),
        ) from None
    if by == "committee":
        return LOOKS_AT[of_atoms](column)
    return error(frame, {"forces": column}, of_atoms, keys)


def of_prediction(frame: Frame, prediction: Wire, by: str, of_atoms: str, keys: dict[str, str] | None) -> float:
    """The same by a prediction."""
    if by == "committee":
        return LOOKS_AT[of_atoms](prediction["forces_std"])
    return error(frame, prediction, of_atoms, keys)


def error(frame: Frame, prediction: Wire, of_atoms: str, keys: dict[str, str] | None) -> float:
    """The norm of the error of the force on each atom, and of these the largest or the mean (eV/Å)."""
    label = extxyz.labels(frame, keys)["forces"]
    if label is None:
        raise BadData(f"{frame.where}: no forces to compare with", "label it first, or name their key: --keys forces=…")
    return LOOKS_AT[of_atoms]([math.dist(a, b) for a, b in zip(prediction["forces"], label, strict=True)])


def ranked(indices: Sequence[int], score: Sequence[float], ids: Sequence[int]) -> list[int]:
    """The largest score first; of equals, by the structure, so that the order of the input does not matter."""
    return sorted(indices, key=lambda index: (-score[index], ids[index]))
