"""Trajectories written by hand, as the engines record them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from psiflow_cli.stages.sample.trajectories import Recorded
from psiflow_cli.stages.sample.walkers import Walker
from psiflow_cli.worker.md import frame_record
from psiflow_cli.worker.md.checkpoint import trajectory_name

START: dict[str, Any] = {
    "symbols": ["O", "H"],
    "positions": [[0.0, 0.0, 0.0], [0.96, 0.0, 0.0]],
    "cell": [[5.0, 0.0, 0.0], [0.0, 5.0, 0.0], [0.0, 0.0, 5.0]],
    "pbc": [True] * 3,
}


def frame(number: int, step: int, start: dict[str, Any], job: dict[str, Any] | None = None, **more: Any) -> str:
    """The text of a frame; unless `more` says otherwise, its numbers follow from the step."""
    usual: dict[str, Any] = {
        "positions": start["positions"], "cell": start["cell"], "energy": -0.1 * step, "kinetic": 0.25,
        "temperature": 300.0 + step, "stress": [0.0] * 6,
    }  # fmt: skip
    walker = {"walker": number, "start": start}
    record = frame_record.FrameRecord(step=step, **{**usual, **more})
    return frame_record.text({"timestep": 0.5, **(job or {})}, walker, record)


def recorded(
    folder: Path, frames: Sequence[str], number: int = 0, start: dict[str, Any] | None = None, **more: Any
) -> Recorded:
    """A walker that has recorded these frames; what follows them in the file, no checkpoint counts."""
    text = "".join(frames).encode()
    folder.mkdir(exist_ok=True)
    (folder / trajectory_name(number)).write_bytes(text + b"2\nLattice=")
    temperature = more.pop("temperature", [300.0, 300.0])
    return Recorded(Walker(number, start or START, temperature, bytes=len(text), **more), folder)
