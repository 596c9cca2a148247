"""Means of correlated series with their standard errors, by blocking, and the table of them that a person reads."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

QUANTITIES = {"temperature": "K", "pressure": "bar", "volume": "Å³", "model_energy": "eV"}
"""What is averaged: keys of a recorded frame, with their units."""
FEWEST_BLOCKS = 8
"""Of fewer blocks the scatter says nothing."""
SHOWN = 20
"""Rows of a table; the averages below them are of all."""
_NAMES = {"model_energy": "energy"}


def mean_and_error(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean of a correlated series and its standard error, None for a series too short to tell.

    Neighbours are averaged in pairs again and again, until the error of the mean, taken from the scatter of the blocks
    as if they were independent, grows no more (Flyvbjerg and Petersen, J. Chem. Phys. 91, 461 (1989)); the blocks are
    long enough where their length cubed exceeds 2 n (error / error without blocks)^4 (Lee, Clark, Needs and
    Foulkes, Phys. Rev. E 83, 066706 (2011)).
    """
    count = len(values)
    mean = math.fsum(values) / count
    blocks, length, plain = array("d", values), 1, 0.0
    if max(values) == min(values):
        return mean, 0.0
    while len(blocks) >= FEWEST_BLOCKS:
        error = _error(blocks)
        plain = plain or error
        if length**3 > 2 * count * (error / plain) ** 4:
            return mean, error
        blocks = array("d", map(_middle, blocks[::2], blocks[1::2]))
        length *= 2
    return mean, None


def _middle(a: float, b: float) -> float:
    return 0.5 * (a + b)


def _error(values: Sequence[float]) -> float:
    """The standard error of the mean of independent values."""
    count = len(values)
    mean = math.fsum(values) / count
    return math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (count - 1) / count)


@dataclass(frozen=True)
class Discard:
    """How much of each path belongs to its beginning, and counts in no average."""

    value: float = 0.2
    """A share, or ps."""
    is_share: bool = True

    def until(self, last: float) -> float:
        """The time (fs) up to which nothing counts, on a path that ends at the time `last`."""
        return self.value * last if self.is_share else 1e3 * self.value


class Series:
    """What a path says of each quantity, frame by frame; frames of one step (beads) count as their mean."""

    def __init__(self) -> None:
        self._times = array("d")
        self._values: dict[str, array[float]] = {}
        self._beads = 0

    def add(self, time: float, values: dict[str, float]) -> None:
        """One frame at a time (fs); every frame of a path has the same quantities."""
        if self._times and self._times[-1] == time:
            self._beads += 1
            for name, value in values.items():
                self._values[name][-1] += (value - self._values[name][-1]) / self._beads
            return
        self._beads = 1
        self._times.append(time)
        for name, value in values.items():
            self._values.setdefault(name, array("d")).append(value)

    def merged(self, other: Series) -> Series:
        """Both, in the order of time."""
        both = Series()
        pairs = [(t, s, i) for s in (self, other) for i, t in enumerate(s._times)]
        for time, series, index in sorted(pairs, key=lambda pair: pair[0]):
            both.add(time, {name: values[index] for name, values in series._values.items()})
        return both

    def result(self, discard: Discard) -> dict[str, Any]:
        """{"frames": that count, "discarded": those that do not, quantity: {"mean", "error"}, ...}."""
        until = discard.until(self._times[-1]) if self._times else 0.0
        first = sum(time <= until for time in self._times) if until > 0 else 0
        found: dict[str, Any] = {"frames": len(self._times) - first, "discarded": first}
        if found["frames"]:
            for name, values in self._values.items():
                mean, error = mean_and_error(values[first:])
                found[name] = {"mean": mean, "error": error}
        return found


@dataclass
class Averages:
    """A row for each path, and one for each group of equivalent paths."""

    discard: Discard
    rows: list[dict[str, Any]] = field(default_factory=list)
    _groups: dict[Any, list[dict[str, Any]]] = field(default_factory=dict)

    def add(self, name: dict[str, Any], group: Any, series: Series) -> None:
        """A path called `name` ({"walker": number, …}) which samples the same as the others of its group."""
        row = {**name, **series.result(self.discard)}
        self.rows.append(row)
        self._groups.setdefault(group, []).append(row)

    def means(self) -> list[dict[str, Any]]:
        """The average of each group of two or more paths, each weighted with its frames."""
        found = []
        for members in self._groups.values():
            given = [row for row in members if row["frames"]]
            if len(given) > 1:
                quantities = [name for name in QUANTITIES if all(name in row for row in given)]
                mean = {name: _together(given, name) for name in quantities}
                found.append({"paths": len(given), "frames": sum(row["frames"] for row in given), **mean})
        return found


def _together(rows: list[dict[str, Any]], name: str) -> dict[str, float | None]:
    """Independent paths: from their scatter where there are enough of them, else from their own errors."""
    weights = [row["frames"] for row in rows]
    values = [row[name]["mean"] for row in rows]
    errors = [row[name]["error"] for row in rows]
    total = sum(weights)
    mean = math.fsum(w * v for w, v in zip(weights, values, strict=True)) / total
    error = None
    if len(rows) >= FEWEST_BLOCKS:
        squares = math.fsum((w * (v - mean)) ** 2 for w, v in zip(weights, values, strict=True))
        error = math.sqrt(squares * len(rows) / (len(rows) - 1)) / total
    elif None not in errors:
        error = math.sqrt(math.fsum((w * e) ** 2 for w, e in zip(weights, errors, strict=True))) / total
    return {"mean": mean, "error": error}


def as_text(averages: Averages) -> str:
    """The table as a person reads it: at most 80 columns wide for usual numbers."""
    means = averages.means()
    every = [*averages.rows, *means]
    names = [name for name in QUANTITIES if any(name in row for row in every)]
    if not any(row[name]["error"] != 0 for row in every for name in ("volume",) if name in row):
        names = [name for name in names if name != "volume"]  # of a cell that does not move
    if not names:
        return ""
    header = ["", "frames", *(f"{_NAMES.get(name, name)}/{QUANTITIES[name]}" for name in names)]
    lines = [[_title(row), str(row["frames"]), *(_number(row.get(name)) for name in names)] for row in every]
    rows, below = lines[: len(averages.rows)], lines[len(averages.rows) :]
    widths = [max(map(len, column)) for column in zip(header, *rows[:SHOWN], *below, strict=True)]
    text = [_line(line, widths) for line in (header, *rows[:SHOWN])]
    if len(rows) > SHOWN:
        text.append(f"... {len(rows) - SHOWN} more in --json")
    return "\n".join([*text, *(_line(line, widths) for line in below)])


def _title(row: dict[str, Any]) -> str:
    if "paths" in row:
        return f"mean of {row['paths']}"
    if "target_temperature" in row:
        return f"start {row['start']}, {row['target_temperature']:g} K"
    return f"walker {row['walker']}"


def _line(words: list[str], widths: list[int]) -> str:
    first, *others = (
        word.ljust(w) if i == 0 else word.rjust(w) for i, (word, w) in enumerate(zip(words, widths, strict=True))
    )
    return "  ".join([first, *others]).rstrip()


def _number(value: dict[str, float | None] | None) -> str:
    """`300.1±2.3`, with two digits of the error; `300.1±?` where it is not known."""
    if value is None:
        return "-"
    mean, error = value["mean"], value["error"]
    assert mean is not None
    if not error:
        return f"{mean:.6g}" + ("±?" if error is None else "")
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{mean:.{digits}f}±{error:.{digits}f}"
