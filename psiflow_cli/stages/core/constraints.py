"""Atoms that do not move, and masses of their own: part of what a frame is, where they decide a result."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection
from dataclasses import dataclass

from psiflow_cli import extxyz
from psiflow_cli.errors import BadData, UsageError
from psiflow_cli.extxyz.frame import Frame
from psiflow_cli.messages import Wire


def fixed(frame: Frame, everywhere: Collection[int] = ()) -> list[int]:
    """The atoms of a frame that do not move, by its `move_mask` or because they are fixed in every frame, in order.

    Raises UsageError for an atom that is not there, BadData for one that is fixed in some directions only.
    """
    found = set(everywhere)
    if found and max(found) >= frame.natoms:
        raise UsageError(f"{frame.where}: no atom {max(found)} to hold fixed", "the first atom is 0")
    if frame.layout.find("move_mask"):
        for index, moves in enumerate(frame.column("move_mask")):
            flags = moves if isinstance(moves, list) else [moves]
            if any(flags) and not all(flags):
                said = f"{frame.where}: atom {index} is fixed in some directions only"
                raise BadData(said, "psiflow fixes an atom as a whole: make its move_mask all T or all F")
            if not all(flags):
                found.add(index)
    return sorted(found)


def masses(frame: Frame) -> list[float]:
    """The frame's own masses (u), or []; raises BadData for one that is not above zero."""
    if not frame.layout.find("masses"):
        return []
    found = [float(mass) for mass in frame.column("masses")]
    for index, mass in enumerate(found):
        if not 0 < mass < math.inf:
            raise BadData(f"{frame.where}: atom {index} has a mass of {mass} u", "masses are above zero")
    return found


@dataclass(frozen=True)
class Held:
    """How a stage reads its frames: with the atoms that do not move and, where they count, with their masses."""

    everywhere: tuple[int, ...] = ()
    """Atoms that are fixed in every frame, from 0."""
    with_masses: bool = False

    def message(self, frame: Frame, inputs: tuple[str, ...] = ()) -> Wire:
        """The frame for a worker; raises BadData or UsageError where its atoms cannot be held so."""
        made = extxyz.message(frame, inputs)
        if indices := fixed(frame, self.everywhere):
            if len(indices) == frame.natoms:
                raise BadData(f"{frame.where}: none of its atoms may move", "leave one out of --fixed or of move_mask")
            made["fixed"] = indices
        if own := masses(frame) if self.with_masses else []:
            made["masses"] = own
        told = [made[key] for key in ("fixed", "masses") if key in made]
        if told:  # two frames that differ in these alone have two results
            made["id"] = hashlib.sha256(f"{made['id']} {told}".encode()).hexdigest()[:16]
        return made

    def identity(self, frame: Frame, inputs: tuple[str, ...] = ()) -> str:
        """The name that `wire` gives the frame."""
        return str(self.message(frame, inputs)["id"])
