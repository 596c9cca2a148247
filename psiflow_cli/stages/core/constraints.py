"""Atoms that do not move, and masses of their own: part of what a frame is, where they decide a result."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psiflow_cli import extxyz
from psiflow_cli.errors import BadData, UsageError
from psiflow_cli.extxyz.frame import Frame
from psiflow_cli.worker.formats.constraints import OTHERS

if TYPE_CHECKING:
    from psiflow_cli import messages


def moves(frame: Frame) -> list[list[bool]]:
    """Whether each atom moves along x, y and z, by the frame's `move_mask`; [] without one.

    Raises BadData for a column that is no mask, and for constraints that came along by name.
    """
    if others := frame.info.get(OTHERS):
        hint = "psiflow can only fix atoms completely, by move_mask or --fixed: remove the constraint from the file"
        raise BadData(f"{frame.where}: constraints not supported: {others}", hint)
    column = frame.layout.find("move_mask")
    if column is None:
        return []
    if column.kind not in ("L", "I") or column.size not in (1, 3):
        problem = f"{frame.where}: move_mask is {column.kind}:{column.size}"
        raise BadData(problem, "it must be T or F for each atom (L:1), or for x, y and z (L:3)")
    flags = frame.column("move_mask")
    return [list(map(bool, each)) if isinstance(each, list) else [bool(each)] * 3 for each in flags]


def fixed(frame: Frame, everywhere: Collection[int] = ()) -> list[int]:
    """The atoms of a frame that do not move, by its `move_mask` or because they are fixed in every frame, in order.

    Raises UsageError for an atom that is not there, BadData for one that is fixed in some directions only.
    """
    indices = set(everywhere)
    if indices and max(indices) >= frame.natoms:
        raise UsageError(f"{frame.where}: there is no atom {max(indices)} to fix", "atoms are numbered from 0")
    for index, flags in enumerate(moves(frame)):
        if any(flags) and not all(flags):
            problem = f"{frame.where}: atom {index} is fixed in some directions only"
            raise BadData(problem, "psiflow can only fix an atom completely: make its move_mask all T or all F")
        if not all(flags):
            indices.add(index)
    return sorted(indices)


def masses(frame: Frame) -> list[float]:
    """The frame's own masses (u), or []; raises BadData for one that is not above zero."""
    if not frame.layout.find("masses"):
        return []
    own = [float(mass) for mass in frame.column("masses")]
    for index, mass in enumerate(own):
        if not 0 < mass < math.inf:
            raise BadData(f"{frame.where}: atom {index} has a mass of {mass} u", "masses must be above zero")
    return own


@dataclass(frozen=True)
class Constraints:
    """What of a frame's atoms is part of the frame for a stage: those that do not move, and their masses."""

    fixed: tuple[int, ...] = ()  # atoms that are fixed in every frame, from 0
    with_masses: bool = False

    def message(self, frame: Frame, inputs: tuple[str, ...] = ()) -> messages.Frame:
        """The frame for a worker; raises BadData or UsageError where its atoms cannot be held so."""
        message = extxyz.message(frame, inputs)
        constraints: list[list[int] | list[float]] = []
        if indices := fixed(frame, self.fixed):
            if len(indices) == frame.natoms:
                raise BadData(
                    f"{frame.where}: all of its atoms are fixed", "remove at least one atom from --fixed or move_mask"
                )
            message["fixed"] = indices
            constraints.append(indices)
        if own_masses := masses(frame) if self.with_masses else []:
            message["masses"] = own_masses
            constraints.append(own_masses)
        if constraints:  # two frames that differ in these alone have two results
            message["id"] = hashlib.sha256(f"{message['id']} {constraints}".encode()).hexdigest()[:16]
        return message

    def identity(self, frame: Frame, inputs: tuple[str, ...] = ()) -> str:
        """The `id` that `message` gives the frame."""
        return self.message(frame, inputs)["id"]
