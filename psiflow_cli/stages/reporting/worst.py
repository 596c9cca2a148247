"""The frames in which a model is most wrong."""

from __future__ import annotations

import contextlib
import heapq
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psiflow_cli import extxyz
from psiflow_cli.errors import BadData
from psiflow_cli.stages import scores

SHOWN = 10


@dataclass(frozen=True)
class Wrong:
    """A frame, and how wrong the model is there."""

    error: float
    """eV/Å: the largest norm of the error of the force on an atom."""
    line: int
    frame: int
    natoms: int
    config_type: str
    wire: dict[str, Any]


def worst(file: Path, keys: str | None) -> list[Wrong]:
    """The frames of what `evaluate` wrote whose forces are most wrong, the worst first; one pass, a few in memory.

    Where the file cannot be read on, since somebody has changed it, it ends.
    """
    named = extxyz.parse_keys(keys) if keys else None
    held: list[tuple[float, int, Wrong]] = []
    with contextlib.suppress(BadData):
        for frame in extxyz.read(file):
            _note(frame, named, held)
    return [wrong for _, _, wrong in sorted(held, key=lambda each: (-each[0], -each[1]))]


def _note(frame: extxyz.Frame, keys: dict[str, str] | None, held: list[tuple[float, int, Wrong]]) -> None:
    """Hold a frame if it is among the worst so far."""
    try:
        error = scores.of_frame(frame, "error", "max", keys)
    except BadData:
        return  # without labels, or without predictions
    place = frame.place
    if len(held) < SHOWN or (error, -place.index) > held[0][:2]:
        kind = str(frame.info.get("config_type", ""))
        wrong = Wrong(error, place.line, place.index, frame.natoms, kind, extxyz.wire(frame))
        push = heapq.heappush if len(held) < SHOWN else heapq.heapreplace
        push(held, (error, -place.index, wrong))
