"""What the page shows of molecular dynamics: series of temperature, energy and pressure, and how far energies drift."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli import extxyz
from psiflow_cli.errors import BadData
from psiflow_cli.stages.plot import series

if TYPE_CHECKING:
    from psiflow_cli.messages import DrawnSeries, ExchangeRate, RunRecord

Read = Callable[[str], Iterator[extxyz.Frame]]
"""Reads a file in whatever format; see `Workspace.read`."""


@dataclass(frozen=True)
class Sampling:
    """What `psiflow sample` has made."""

    name: str
    ensemble: str
    engine: str
    walkers: int
    stopped: int
    frames: int
    averages: list[dict[str, object]]  # of groups of walkers where there are any, else of each walker
    file: Path | None  # the trajectory
    plot: Path | None
    exchanges: list[ExchangeRate]  # between neighbouring temperatures, pressures or windows
    drift: float | None = None  # of the total energy, meV per atom and ps


@dataclass
class Drift:
    """The slope of a line through the total energy per atom of each walker, by least squares."""

    _sums: dict[str, list[float]] = field(default_factory=dict)

    def add(self, walker: str, time: float, energy: float) -> None:
        """A frame: the time in ps, the energy in meV per atom."""
        sums = self._sums.setdefault(walker, [0.0] * 6)
        if not sums[0]:
            sums[5] = energy  # all others are relative to the first: they are large, and their changes are small
        energy -= sums[5]
        for index, value in enumerate((1.0, time, energy, time * time, time * energy)):
            sums[index] += value

    def largest(self) -> float | None:
        """Of all walkers, in meV per atom and ps; None where no walker has three frames."""
        slopes = []
        for n, t, e, tt, te, _ in self._sums.values():
            if n > 2 and (spread := n * tt - t * t) > 0:
                slopes.append((n * te - t * e) / spread)
        return max(slopes, key=abs, default=None)


def of_run(name: str, record: RunRecord, file: Path | None, plot: Path | None) -> Sampling:
    """A finished sampling as its run directory has it."""
    result = record.get("result")
    summary = result.get("summary", {}) if result else {}
    return Sampling(
        name=name,
        ensemble=str(record.get("settings", {}).get("ensemble", "?")),
        engine=str(summary.get("engine", "?")),
        walkers=int(summary.get("total", 0)),
        stopped=int(summary.get("failed", 0)),
        frames=int(summary.get("frames", 0)),
        averages=summary.get("means") or summary.get("averages") or [],
        file=file,
        plot=plot,
        exchanges=summary.get("exchanges", []),
    )


def write(sampling: Sampling, read: Read, path: Path) -> tuple[DrawnSeries | None, float | None]:
    """Write the table that `figures.SERIES` draws, None where there is none; and the drift, for constant energy."""
    walkers, drift = series.Walkers(1), Drift()

    def rows() -> Iterator[series.Line]:
        try:
            for line in series.of_frames(str(sampling.file), read(str(sampling.file))):
                _, walker, symbols, row = line
                if not math.isnan(energy := row.get("total_energy_eV", math.nan)):
                    drift.add(walker, 1e-3 * row["time_fs"], 1e3 * energy / len(symbols))
                yield line
        except BadData:
            return  # somebody has changed the file

    walkers.write(rows(), path)
    shown = walkers.shown()
    drawing: DrawnSeries | None = {"source": str(path), "shown": shown} if shown["walkers"] else None
    return drawing, drift.largest() if sampling.ensemble == "nve" else None
