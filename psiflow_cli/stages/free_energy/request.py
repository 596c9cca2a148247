"""What is asked of a free energy, as options say it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import pi
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psiflow_cli.messages import Basin, Discarding, Method
    from psiflow_cli.stages.core.workspace import Job

KB = 8.617330337217213e-05  # eV/K; of ase.units (CODATA 2014)


@dataclass(frozen=True)
class Request:
    """The options of `psiflow free-energy`."""

    job: Job
    files: tuple[str, ...]
    by: Method | None  # None: what the files are
    cvs: tuple[str, ...]  # (): those of the files, if these are few enough
    temperature: float | None  # K
    pressure: float | None  # bar
    bias: tuple[str, ...]  # columns whose sum is the bias
    windows: tuple[str, ...]  # columns that tell windows apart
    restrained: tuple[str, ...]
    at: tuple[str, ...]  # names of columns or numbers, of each CV; of one CV also a number for each file
    kappa: tuple[str, ...]
    window_biases: tuple[str, ...]
    energy: str | None
    hills: tuple[str, ...]
    periodic: dict[str, tuple[float, float]]
    energy_unit: float | None  # eV; None: that of each file, else kJ/mol
    walker: int | None  # the only one of FILES that counts
    bins: tuple[int, ...]
    ranges: tuple[tuple[float, float], ...]
    basins: tuple[Basin, ...]
    discard: Discarding | None
    blocks: int
    plot: str | None
    convergence: str | None


def number(text: str) -> float:
    """A number, or a multiple of pi as PLUMED writes it: `-pi`, `2pi`, `0.5*pi`. Raises ValueError."""
    match = re.fullmatch(r"([+-]?[\d.]*)\*?pi", text.strip(), re.IGNORECASE)
    if not match:
        return float(text)
    return pi * (float(f"{match[1]}1") if match[1] in ("", "+", "-") else float(match[1]))


def interval(text: str) -> tuple[float, float]:
    """`LOW:HIGH`. Raises ValueError."""
    low, _, high = text.partition(":")
    try:
        return number(low), number(high)
    except ValueError:
        raise ValueError(f"{text!r} is not LOW:HIGH, such as 0.8:2.5 or -pi:pi") from None
