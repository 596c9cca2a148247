"""What a training is doing now, in a file of its folder: written by the worker and its trainer, read by the command."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Literal

FILE = "phase"
Phase = Literal["preparing", "training", "delivering"]
"""Before the first epoch; between the first and the last; after the last, until the weights are there."""


def begin(folder: Path, phase: Phase) -> None:
    """Write down what begins; a disk that is full is no reason to stop."""
    with suppress(OSError):
        (folder / FILE).write_text(phase)


def read(folder: Path) -> str:
    """What was written down last; "" for nothing, as long as no worker has begun."""
    try:
        return (folder / FILE).read_text()
    except FileNotFoundError:
        return ""


def forget(folder: Path) -> None:
    """Nothing has begun yet."""
    (folder / FILE).unlink(missing_ok=True)
