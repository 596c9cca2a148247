"""Averages of temperature, pressure, volume and energy: a row for each path, and the means of equivalent ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

from psiflow_cli.stages.sample.blocking import FEWEST_BLOCKS, Discard, Estimate, Series, merged
from psiflow_cli.stages.sample.trajectories import Recorded

if TYPE_CHECKING:
    from psiflow_cli.stages.sample.request import Sampling

QUANTITIES = {"temperature": "K", "pressure": "bar", "volume": "Å³", "model_energy": "eV"}
"""What is averaged: keys of a recorded frame, with their units."""
SHOWN = 20  # rows of a table; the averages below them are of all
_SYMBOLS = {"temperature": "T", "pressure": "P", "volume": "V", "model_energy": "E"}


class Label(TypedDict, total=False):
    """Which path, or which paths, a row is about."""

    walker: int
    start: int  # number of the frame that it began from
    atoms: int
    paths: int  # how many were averaged
    target: list[float]  # [at the first, at the last step] in K
    target_pressure: float  # bar, where there are several
    window: dict[str, float]  # of PLUMED's input


@dataclass(frozen=True)
class Row:
    """The averages of a path, or of equivalent paths."""

    label: Label
    frames: int
    estimates: dict[str, Estimate]  # by quantity
    discarded: int | None = None  # frames that do not count, of a path

    @property
    def message(self) -> dict[str, object]:
        """The row as `--json` has it."""
        discarded = {} if self.discarded is None else {"discarded": self.discarded}
        estimates = {name: estimate._asdict() for name, estimate in self.estimates.items()}
        return {**self.label, "frames": self.frames, **discarded, **estimates}


@dataclass
class Averages:
    """A row for each path, and one for each group of equivalent paths."""

    discard: Discard
    rows: list[Row] = field(default_factory=list)
    _groups: dict[tuple[object, ...], list[Row]] = field(default_factory=dict)

    def add(self, label: Label, system: object, series: Series) -> None:
        """A path through the states of a system; those of one system at one temperature sample the same."""
        means = series.means(self.discard)
        row = Row(label, means.frames, means.estimates, means.discarded)
        self.rows.append(row)
        self._groups.setdefault((system, *label["target"], _beside(label)), []).append(row)

    def means(self) -> list[Row]:
        """The average of each group of two or more paths, each weighted with its frames."""
        means = []
        for members in self._groups.values():
            rows = [row for row in members if row.frames]
            if len(rows) > 1:
                names = [name for name in QUANTITIES if all(name in row.estimates for row in rows)]
                first = rows[0].label
                label: Label = {"paths": len(rows), "target": first["target"]}
                if "target_pressure" in first:
                    label["target_pressure"] = first["target_pressure"]
                if "window" in first:
                    label["window"] = first["window"]
                means.append(Row(label, sum(row.frames for row in rows), {name: _mean(rows, name) for name in names}))
        return means


def _mean(rows: list[Row], name: str) -> Estimate:
    """Of independent paths: from their scatter where there are enough of them, else from their own errors."""
    weights, estimates = [row.frames for row in rows], [row.estimates[name] for row in rows]
    total = sum(weights)
    mean = math.fsum(w * e.mean for w, e in zip(weights, estimates, strict=True)) / total
    if len(rows) >= FEWEST_BLOCKS:
        squares = math.fsum((w * (e.mean - mean)) ** 2 for w, e in zip(weights, estimates, strict=True))
        error = math.sqrt(squares * len(rows) / (len(rows) - 1)) / total
        return Estimate(mean, error, error)
    errors, least = [e.error for e in estimates], [e.at_least for e in estimates]
    return Estimate(mean, _in_quadrature(weights, errors), _in_quadrature(weights, least))


def _in_quadrature(weights: list[int], errors: list[float | None]) -> float | None:
    """The error of a weighted mean of independent values, where all of theirs are known."""
    if None in errors:
        return None
    return math.sqrt(math.fsum((w * (e or 0.0)) ** 2 for w, e in zip(weights, errors, strict=True))) / sum(weights)


UNKNOWN = "±?: the trajectory is too short to estimate the standard error"


def as_text(averages: Averages) -> str:
    """The table as a person reads it: at most 80 columns wide for usual numbers."""
    means = averages.means()
    every = [*averages.rows, *means]
    names = [name for name in QUANTITIES if any(name in row.estimates for row in every)]
    volumes = [(row.frames, row.estimates["volume"]) for row in averages.rows if "volume" in row.estimates]
    if not any(frames > 1 and volume.error != 0 for frames, volume in volumes):
        names = [name for name in names if name != "volume"]  # of a cell that does not move
    if not names:
        return ""
    header = ["", "frames", *(f"{_SYMBOLS[name]} ({QUANTITIES[name]})" for name in names)]
    several = len({tuple(mean.label["target"]) for mean in means}) > 1
    lines = [
        [title(row.label, several), str(row.frames), *(number(row.estimates.get(name)) for name in names)]
        for row in every
    ]
    rows, below = lines[: len(averages.rows)], lines[len(averages.rows) :]
    widths = [max(map(len, column)) for column in zip(header, *rows[:SHOWN], *below, strict=True)]
    text = [_line(line, widths) for line in (header, *rows[:SHOWN])]
    if len(rows) > SHOWN:
        text.append(f"... {len(rows) - SHOWN} more in --json")
    text += [_line(line, widths) for line in below]
    unknown = any("±?" in word for line in (*rows[:SHOWN], *below) for word in line)
    return "\n".join([*text, *([UNKNOWN] if unknown else [])])


def title(label: Label, several: bool) -> str:
    """Which path, or which paths, a row is about; `several`: there are means at more than one temperature."""
    first, last = label["target"]
    at = f"{first:g} K" if first == last else f"{first:g}:{last:g} K"
    at += _beside(label)
    if "paths" in label:
        return f"mean, {at}" if several else f"mean of {label['paths']}"
    return f"walker {label['walker']}{_beside(label)}" if "walker" in label else f"start {label['start']}, {at}"


def _beside(label: Label) -> str:
    """The conditions beside the temperature."""
    pressure = f", {label['target_pressure']:g} bar" if "target_pressure" in label else ""
    return pressure + "".join(f", {name}={value:.6g}" for name, value in label.get("window", {}).items())


def _line(words: list[str], widths: list[int]) -> str:
    padded = [word.rjust(width) for word, width in zip(words[1:], widths[1:], strict=True)]
    return "  ".join([words[0].ljust(widths[0]), *padded]).rstrip()


def number(value: Estimate | None) -> str:
    """`300.1±2.3`, with two digits of the error; `300±?` where it is not known."""
    if value is None:
        return "-"
    mean, error, at_least = value
    if not at_least:
        return f"{mean:.6g}" + ("±?" if error is None else "")
    digits = max(0, 1 - math.floor(math.log10(at_least)))
    return f"{round(mean, digits) + 0.0:.{digits}f}±" + ("?" if error is None else f"{error:.{digits}f}")


def of_paths(sampling: Sampling, paths: Sequence[Recorded]) -> Averages:
    """Of each walker, or under each of the conditions that walkers exchange."""
    averages = Averages(sampling.outputs.discard)
    for begin in range(0, len(paths), sampling.walkers):
        members = paths[begin : begin + sampling.walkers]
        start, atoms = begin // sampling.walkers, len(members[0].walker.start["symbols"])
        if sampling.dynamics["exchange"]:
            for conditions, series in _by_conditions(members):
                averages.add({"start": start, "atoms": atoms, **conditions}, _system(sampling, members[0]), series)
            continue
        for path in members:
            walker = path.walker
            label: Label = {"walker": walker.number, "start": start, "atoms": atoms, "target": walker.temperature}
            if walker.pressure is not None:
                label["target_pressure"] = walker.pressure
            if walker.window is not None:
                label["window"] = walker.window
            averages.add(label, _system(sampling, path), _series(path))
    return averages


def _system(sampling: Sampling, path: Recorded) -> tuple[str, ...]:
    """What must be equal for averages to be of the same: the atoms, and the cell unless it moves.

    At constant energy no two paths sample the same.
    """
    start, ensemble = path.walker.start, sampling.dynamics["ensemble"]
    cell = "" if ensemble == "npt" else repr(start["cell"])
    return (" ".join(start["symbols"]), cell, str(path.walker.number) if ensemble == "nve" else "")


def _series(path: Recorded) -> Series:
    series = Series()
    for numbers in path.numbers():
        series.add(float(numbers["time"]), _quantities(numbers))
    return series


def _by_conditions(paths: Sequence[Recorded]) -> list[tuple[Label, Series]]:
    """What was recorded under each of the conditions, by temperature, pressure and window."""
    names = paths[0].walker.window or {}
    series: dict[tuple[float, ...], list[Series]] = {}
    for path in paths:
        own: dict[tuple[float, ...], Series] = {}
        for numbers in path.numbers():
            beside = [float(numbers[name]) for name in ("target_pressure", *names) if name in numbers]
            key = (float(numbers["target_temperature"]), *beside)
            own.setdefault(key, Series()).add(float(numbers["time"]), _quantities(numbers))
        for key, each in own.items():
            series.setdefault(key, []).append(each)
    labelled = []
    for (target, *beside), parts in sorted(series.items()):
        label: Label = {"target": [target] * 2}
        if paths[0].walker.pressure is not None:
            label["target_pressure"] = beside.pop(0)
        if names:
            label["window"] = dict(zip(names, beside, strict=True))
        labelled.append((label, merged(parts)))
    return labelled


def _quantities(numbers: dict[str, str]) -> dict[str, float]:
    return {name: float(numbers[name]) for name in QUANTITIES if name in numbers}
