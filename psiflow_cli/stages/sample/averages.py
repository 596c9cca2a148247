"""Averages of temperature, pressure, volume and energy: a row for each path, and the means of equivalent ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from psiflow_cli.stages.sample.blocking import FEWEST_BLOCKS, Discard, Estimate, Series, merged
from psiflow_cli.stages.sample.trajectories import Recorded

if TYPE_CHECKING:
    from psiflow_cli.stages.sample.request import Sampling

QUANTITIES = {"temperature": "K", "pressure": "bar", "volume": "Å³", "model_energy": "eV"}
"""What is averaged: keys of a recorded frame, with their units."""
SHOWN = 20
"""Rows of a table; the averages below them are of all."""
_SYMBOLS = {"temperature": "T", "pressure": "P", "volume": "V", "model_energy": "E"}


@dataclass
class Averages:
    """A row for each path, and one for each group of equivalent paths."""

    discard: Discard
    rows: list[dict[str, Any]] = field(default_factory=list)
    _groups: dict[Any, list[dict[str, Any]]] = field(default_factory=dict)

    def add(self, name: dict[str, Any], system: Any, series: Series) -> None:
        """A path called `name`, {"walker": number, "target": [K, K], …}, through the states of a system.

        Those of one system at one temperature sample the same.
        """
        row = {**name, **series.result(self.discard)}
        self.rows.append(row)
        self._groups.setdefault((system, *name["target"]), []).append(row)

    def means(self) -> list[dict[str, Any]]:
        """The average of each group of two or more paths, each weighted with its frames."""
        found = []
        for members in self._groups.values():
            given = [row for row in members if row["frames"]]
            if len(given) > 1:
                quantities = [name for name in QUANTITIES if all(name in row for row in given)]
                mean = {name: _together(given, name) for name in quantities}
                about = {"paths": len(given), "target": given[0]["target"], "frames": sum(r["frames"] for r in given)}
                found.append({**about, **mean})
        return found


def _together(rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Independent paths: from their scatter where there are enough of them, else from their own errors."""
    weights = [row["frames"] for row in rows]
    values = [row[name]["mean"] for row in rows]
    errors, least = ([row[name][key] for row in rows] for key in ("error", "at_least"))
    total = sum(weights)
    mean = math.fsum(w * v for w, v in zip(weights, values, strict=True)) / total
    if len(rows) >= FEWEST_BLOCKS:
        squares = math.fsum((w * (v - mean)) ** 2 for w, v in zip(weights, values, strict=True))
        error = math.sqrt(squares * len(rows) / (len(rows) - 1)) / total
        return Estimate(mean, error, error)._asdict()
    return Estimate(mean, *(None if None in x else _in_quadrature(weights, x) for x in (errors, least)))._asdict()


def _in_quadrature(weights: list[int], errors: list[float]) -> float:
    """The error of a weighted mean of independent values."""
    return math.sqrt(math.fsum((w * e) ** 2 for w, e in zip(weights, errors, strict=True))) / sum(weights)


def as_text(averages: Averages) -> str:
    """The table as a person reads it: at most 80 columns wide for usual numbers."""
    means = averages.means()
    every = [*averages.rows, *means]
    names = [name for name in QUANTITIES if any(name in row for row in every)]
    if not any(row["frames"] > 1 and row["volume"]["error"] != 0 for row in averages.rows if "volume" in row):
        names = [name for name in names if name != "volume"]  # of a cell that does not move
    if not names:
        return ""
    header = ["", "frames", *(f"{_SYMBOLS[name]} / {QUANTITIES[name]}" for name in names)]
    several = len({tuple(mean["target"]) for mean in means}) > 1
    lines = [[_title(row, several), str(row["frames"]), *(_number(row.get(name)) for name in names)] for row in every]
    rows, below = lines[: len(averages.rows)], lines[len(averages.rows) :]
    widths = [max(map(len, column)) for column in zip(header, *rows[:SHOWN], *below, strict=True)]
    text = [_line(line, widths) for line in (header, *rows[:SHOWN])]
    if len(rows) > SHOWN:
        text.append(f"... {len(rows) - SHOWN} more in --json")
    return "\n".join([*text, *(_line(line, widths) for line in below)])


def _title(row: dict[str, Any], several: bool) -> str:
    first, last = row["target"]
    at = f"{first:g} K" if first == last else f"{first:g}:{last:g} K"
    if "paths" in row:
        return f"mean, {at}" if several else f"mean of {row['paths']}"
    return f"walker {row['walker']}" if "walker" in row else f"start {row['start']}, {at}"


def _line(words: list[str], widths: list[int]) -> str:
    padded = [word.rjust(width) for word, width in zip(words[1:], widths[1:], strict=True)]
    return "  ".join([words[0].ljust(widths[0]), *padded]).rstrip()


def _number(value: dict[str, Any] | None) -> str:
    """`300.1±2.3`, with two digits of the error; `300±?` where it is not known."""
    if value is None:
        return "-"
    mean, error, at_least = value["mean"], value["error"], value["at_least"]
    if not at_least:
        return f"{mean:.6g}" + ("±?" if error is None else "")
    digits = max(0, 1 - math.floor(math.log10(at_least)))
    return f"{round(mean, digits) + 0.0:.{digits}f}±" + ("?" if error is None else f"{error:.{digits}f}")


def of_paths(sampling: Sampling, paths: Sequence[Recorded]) -> Averages:
    """Of each walker, or of each temperature where walkers exchange them."""
    found = Averages(sampling.outputs.discard)
    for begin in range(0, len(paths), sampling.walkers):
        members = paths[begin : begin + sampling.walkers]
        start = {"start": begin // sampling.walkers, "atoms": len(members[0].walker.start["symbols"])}
        if sampling.settings["exchange"]:
            for target, series in sorted(_by_temperature(members).items()):
                found.add({**start, "target": [target] * 2}, _system(sampling, members[0]), series)
            continue
        for path in members:
            name = {"walker": path.walker.number, **start, "target": path.walker.temperature}
            found.add(name, _system(sampling, path), _series(path))
    return found


def _system(sampling: Sampling, path: Recorded) -> tuple[str, ...]:
    """What must be equal for averages to be of the same: the atoms, and the cell unless it moves.

    At constant energy no two paths sample the same.
    """
    start, ensemble = path.walker.start, sampling.settings["ensemble"]
    cell = "" if ensemble == "npt" else repr(start["cell"])
    return (" ".join(start["symbols"]), cell, str(path.walker.number) if ensemble == "nve" else "")


def _series(path: Recorded) -> Series:
    series = Series()
    for numbers in path.numbers():
        series.add(float(numbers["time"]), _quantities(numbers))
    return series


def _by_temperature(paths: Sequence[Recorded]) -> dict[float, Series]:
    found: dict[float, list[Series]] = {}
    for path in paths:
        own: dict[float, Series] = {}
        for numbers in path.numbers():
            target, time = float(numbers["target_temperature"]), float(numbers["time"])
            own.setdefault(target, Series()).add(time, _quantities(numbers))
        for target, series in own.items():
            found.setdefault(target, []).append(series)
    return {target: merged(parts) for target, parts in found.items()}


def _quantities(numbers: dict[str, str]) -> dict[str, float]:
    return {name: float(numbers[name]) for name in QUANTITIES if name in numbers}
