"""Time series of molecular dynamics, from trajectories or from the tables of `psiflow sample --properties`."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli import extxyz
from psiflow_cli.errors import BadData
from psiflow_cli.stages.sample.trajectories import COLUMNS

if TYPE_CHECKING:
    from psiflow_cli.messages import DrawnWalker

    Row = dict[str, float]
    """Numbers of a frame, by the names of the columns in `COLUMNS`."""
    Line = tuple[str, str, tuple[str, ...], Row]
    """File, walker, symbols (none where they are unknown), and numbers of a frame."""

_NEEDED = ("time_fs", "temperature_K")
_DRAWN = (
    *_NEEDED, "pressure_bar", "volume_A3", "model_energy_eV", "kinetic_energy_eV", "total_energy_eV",
    "target_temperature_K",
)  # fmt: skip
_TIME, _TARGET = "time_fs", "target_temperature_K"


@dataclass
class Walkers:
    """The walkers of all files, renumbered, whose rows go into one table."""

    files: int  # how many there will be
    _numbers: dict[tuple[str, str], int] = field(default_factory=dict)
    _drawn: list[DrawnWalker] = field(default_factory=list)
    _systems: dict[tuple[str, ...], int] = field(default_factory=dict)
    _targets: dict[int, list[float]] = field(default_factory=dict)
    _stepwise: set[int] = field(default_factory=set)  # whose target stays or turns: no ramp, but maybe exchanges
    _end: float = 0.0

    def write(self, rows: Iterable[Line], path: Path) -> None:
        """Write the table that `figures.SERIES` reads."""
        with path.open("w", newline="") as stream:
            table = csv.writer(stream, lineterminator="\n")
            table.writerow(["walker", *_DRAWN])
            for file, walker, symbols, row in rows:
                number = self._number(file, walker, symbols)
                self._end = max(self._end, row[_TIME])
                if not math.isnan(target := row.get(_TARGET, math.nan)):
                    self._note_target(number, target)
                table.writerow([number, *(row.get(name, "") for name in _DRAWN)])

    def _note_target(self, number: int, target: float) -> None:
        first, last = ends = self._targets.setdefault(number, [target, math.nan])
        if target == last or (target - last) * (last - first) < 0:
            self._stepwise.add(number)
        ends[1] = target

    def _target(self, number: int) -> list[float] | None:
        """At the first and the last step; of a walker that exchanges its temperature, the first one."""
        ends = self._targets.get(number)
        return [ends[0]] * 2 if ends and number in self._stepwise else ends

    def _number(self, file: str, walker: str, symbols: tuple[str, ...]) -> int:
        number = self._numbers.setdefault((file, walker), len(self._numbers))
        if number == len(self._drawn):
            system = self._systems.setdefault(symbols, len(self._systems))
            drawn: DrawnWalker = {
                "walker": number, "start": system, "atoms": len(symbols), "target": None, "stopped": False,
                "name": f"{os.path.basename(file)}: {walker}" if self.files > 1 else f"walker {walker}",
            }  # fmt: skip
            self._drawn.append(drawn)
        return number

    def shown(self) -> dict[str, object]:
        """What the figure says beside the table."""
        walkers = [{**walker, "target": self._target(walker["walker"])} for walker in self._drawn]
        return {"walkers": walkers, "pressure": None, "duration": self._end or 1.0, "discard": 0.0}


def of_frames(file: str, frames: Iterable[extxyz.Frame]) -> Iterator[Line]:
    """The numbers of the frames of a trajectory that have them."""
    for frame in frames:
        if is_step(frame):
            numbers = {name: frame.info[key] for key, name in COLUMNS.items() if key in frame.info}
            row = {name: float(value) for name, value in numbers.items() if isinstance(value, (int, float))}
            if "model_energy_eV" in row and "kinetic_energy_eV" in row:
                row["total_energy_eV"] = row["model_energy_eV"] + row["kinetic_energy_eV"]
            yield file, str(frame.info.get("walker", 0)), tuple(frame.symbols), row


def is_step(frame: extxyz.Frame) -> bool:
    """Whether a frame is a step of molecular dynamics that says when it was and how hot."""
    return all(isinstance(frame.info.get(key), (int, float)) for key in ("time", "temperature"))


def of_table(file: str, path: Path) -> Iterator[Line]:
    """The rows of a table as CSV. Raises BadData for what is no such table."""
    with path.open(newline="", encoding="utf-8") as stream:
        table = csv.DictReader(stream)
        try:
            for name in _NEEDED:
                if name not in (table.fieldnames or ()):
                    raise BadData(f"{file}:1: no column {name}", "give a table that psiflow sample --properties wrote")
            for row in table:
                yield file, row.get("walker") or "0", (), _numbers(file, table.line_num, row)
        except (UnicodeDecodeError, csv.Error) as error:
            raise BadData(f"{file}:{table.line_num + 1}: not a CSV table: {error}", "give a .csv file") from None


def _numbers(file: str, line: int, row: dict[str, str]) -> Row:
    numbers: Row = {}
    for name in _DRAWN:
        try:
            numbers[name] = float(row.get(name) or "nan")
        except (TypeError, ValueError):
            raise BadData(f"{file}:{line}: {name}: {row[name]!r} is not a number", "write the table again") from None
    if math.isnan(numbers[_TIME]):
        raise BadData(f"{file}:{line}: no time", "write the table again")
    return numbers
