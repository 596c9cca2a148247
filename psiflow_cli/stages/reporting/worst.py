"""The frames in which a model is most wrong."""

from __future__ import annotations

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
    """The frames of what `evaluate` wrote whose forces are most wrong, the worst first; one pass, a few in memory."""
    named = extxyz.parse_keys(keys) if keys else None
    held: list[tuple[float, int, Wrong]] = []
    for frame in extxyz.read(file):
        try:
            error = scores.of_frame(frame, "error", "max", named)
        except BadData:
            continue  # without labels, or without predictions
        place, kind = frame.place, str(frame.info.get("config_type", ""))
        wrong = Wrong(error, place.line, place.index, frame.natoms, kind, extxyz.wire(frame))
        push = heapq.heappush if len(held) < SHOWN else heapq.heappushpop
        push(held, (error, -place.index, wrong))
    return [wrong for _, _, wrong in sorted(held, key=lambda each: (-each[0], -each[1]))]
