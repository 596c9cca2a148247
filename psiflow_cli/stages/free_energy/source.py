"""The numbers of a file by name, with the places that a message names: of PLUMED, a CSV table, or frames."""

from __future__ import annotations

import csv
import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from psiflow_cli import extxyz
from psiflow_cli.console import note
from psiflow_cli.errors import BadData, nearest
from psiflow_cli.stages.sample.plumed.outputs import ENERGY_UNIT, SHARED, TIME_UNIT, constant
from psiflow_cli.values.quantities import TABLES

KJ_PER_MOL = TABLES["eV"]["kJ/mol"]
PREFIXES = ("", "plumed_")
"""What may stand before a name of PLUMED where psiflow has recorded it."""


@dataclass
class Header:
    """What a file has, before its numbers are read."""

    file: str
    names: list[str]
    constants: dict[str, str] = field(default_factory=dict)  # `#! SET` of a file of PLUMED
    is_plumed: bool = False

    def find(self, names: Sequence[str]) -> str | None:
        """The first of several spellings that the file has."""
        return next((p + name for name in names for p in PREFIXES if p + name in self.names), None)

    def need(self, names: Sequence[str], option: str) -> str:
        """As `find`. Raises BadData where there is none."""
        if (name := self.find(names)) is not None:
            return name
        near = nearest(names[0], self.names) if self.names else "it has no numbers"
        raise BadData(f"{self.file}:1: no column {names[0]}, which {option} needs", near)

    @property
    def is_hills(self) -> bool:
        """Whether it has the Gaussians of metadynamics."""
        return self.has_kernels and "biasf" in self.names

    @property
    def has_kernels(self) -> bool:
        """Whether it has Gaussians: of metadynamics, or of OPES, whose sum is no bias."""
        return self.is_plumed and "height" in self.names and any(name.startswith("sigma_") for name in self.names)

    @property
    def is_shared(self) -> bool:
        """Whether its walkers have filled one bias together: psiflow then names the time at which each hill came."""
        return SHARED in self.names

    def unit(self, given_unit: float | None) -> float:
        """The unit of its energies in eV: its own where psiflow wrote it, else what is asked for, else kJ/mol.

        Raises BadData where the two differ.
        """
        own = self._unit(ENERGY_UNIT)
        if own is None:
            return KJ_PER_MOL if given_unit is None else given_unit
        if given_unit is not None and not math.isclose(given_unit, own, rel_tol=1e-5):
            problem = f"{self.file}:1: its energies are in units of {own:g} eV, but --energy-unit is {given_unit:g}"
            raise BadData(problem, "leave out --energy-unit")
        return own

    @property
    def time_unit(self) -> float:
        """The unit of PLUMED's times in ps, which psiflow writes into its files; else PLUMED's default."""
        return self._unit(TIME_UNIT) or 1.0

    def _unit(self, name: str) -> float | None:
        word = self.constants.get(name)
        return None if word is None else constant(f"{self.file}:1", name, word)


def of_plumed(file: str) -> Header | None:
    """The header of a file that begins as PLUMED's do; None for another one. Raises BadData for an empty one."""
    with open(file, encoding="utf-8", errors="replace") as stream:
        first = stream.readline()
        if not first.startswith("#!"):
            return None
        words = first.split()
        if words[1:2] != ["FIELDS"] or len(words) < 3:
            raise BadData(
                f"{file}:1: not a PLUMED file: it has no FIELDS",
                "the first line of COLVAR and HILLS is #! FIELDS time …",
            )
        header = Header(file, words[2:], is_plumed=True)
        for line in stream:
            if not line.startswith("#!"):
                break
            _constant(header, line.split())
    return header


def _constant(header: Header, words: list[str]) -> None:
    if words[1:3] == ["SET", "walker"] and "walker" not in header.names:
        header.names.append("walker")  # psiflow has walkers one after another in a file: a column that is not written
    elif words[1:2] == ["SET"] and len(words) > 3:
        header.constants[words[2]] = " ".join(words[3:])


def read_plumed(header: Header, names: Sequence[str], one_path: bool = True) -> dict[str, array[float]]:
    """The columns of these names. Raises BadData, with the line, for what is not a number.

    Of a path that was begun again from an earlier time, what came after that time before is left out; hills stay,
    since PLUMED reads them all when it restarts.
    """
    places = [header.names.index(name) for name in names]
    columns = [array("d") for _ in names]
    clock = header.names.index("time") if one_path and "time" in header.names else None
    has_walkers, walker = header.names[-1:] == ["walker"], ""
    times, begun, dropped = array("d"), False, 0
    with open(header.file, encoding="utf-8", errors="replace") as stream:
        for number, line in enumerate(stream, 1):
            if not line.endswith("\n"):
                note(f"{header.file}:{number}: the last line is incomplete and was ignored")
                break
            words = line.split()
            if not words:
                continue
            if words[:3] == ["#!", "SET", "walker"]:
                walker, times, begun = " ".join(words[3:]), array("d"), False
                continue
            if words[0].startswith("#"):
                begun = _repeated(header, words, number) or begun
                continue
            if has_walkers:
                words.append(walker)
            if len(words) != len(header.names):
                count, fields = (len(each) - has_walkers for each in (words, header.names))
                problem = f"{header.file}:{number}: {count} numbers for {fields} fields"
                raise BadData(problem, "correct this line, or remove it")
            values = _numbers(header.file, number, [words[place] for place in places], names)
            if clock is not None:
                time = _numbers(header.file, number, [words[clock]], ["time"])[0]
                if times and time <= times[-1]:
                    if not begun and time < times[-1]:
                        problem = f"{header.file}:{number}: the time goes back from {times[-1]:g} to {time:g}"
                        raise BadData(problem, "give each walker or run as its own file")
                    if time > times[0]:  # else the clock began again: a run that continued from the end
                        dropped += _cut(times, columns, time)
                times.append(time)
                begun = False
            for column, value in zip(columns, values, strict=True):
                column.append(value)
    if dropped:
        note(f"{header.file}: {dropped} rows were ignored because a restart computed them again")
    if columns and not columns[0]:
        raise BadData(f"{header.file}: it contains no numbers", "give a file that PLUMED wrote")
    return dict(zip(names, columns, strict=True))


def _repeated(header: Header, words: list[str], number: int) -> bool:
    """Whether a header within a file is that of a restart. Raises BadData for another one."""
    fields = [name for name in header.names if name != "walker" or name in words]
    if words[1:2] == ["FIELDS"] and words[2:] != fields:
        raise BadData(f"{header.file}:{number}: FIELDS differ from those in line 1", "give each run as its own file")
    if words[1:2] == ["SET"] and len(words) > 3 and header.constants.get(words[2]) != " ".join(words[3:]):
        was, now = header.constants.get(words[2], "unset"), " ".join(words[3:])
        raise BadData(
            f"{header.file}:{number}: {words[2]} is {now}, but was {was} before", "give each run as its own file"
        )
    return words[1:2] == ["FIELDS"] and number > 1


def _cut(times: array[float], columns: list[array[float]], time: float) -> int:
    """Take out the rows of this time and of later ones; returns how many they were."""
    import bisect

    keep = bisect.bisect_left(times, time)
    count = len(times) - keep
    for column in (times, *columns):
        del column[keep:]
    return count


def _numbers(file: str, line: int, words: Sequence[object], names: Sequence[str]) -> list[float]:
    values = []
    for word, name in zip(words, names, strict=True):
        try:
            value = float(word)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            value = math.nan
        if not math.isfinite(value):
            raise BadData(f"{file}:{line}: {name} is {word!r}, not a finite number", "correct this line, or remove it")
        values.append(value)
    return values


def of_csv(file: str) -> Header:
    """The names of a table's columns. Raises BadData."""
    with open(file, newline="", encoding="utf-8", errors="replace") as stream:
        return Header(file, next(csv.reader(stream), []))


def read_csv(header: Header, names: Sequence[str]) -> dict[str, array[float]]:
    """The columns of these names. Raises BadData, with the line."""
    columns = [array("d") for _ in names]
    with Path(header.file).open(newline="", encoding="utf-8", errors="replace") as stream:
        table = csv.DictReader(stream)
        for row in table:
            values = _numbers(header.file, table.line_num, [row.get(name) for name in names], names)
            for column, value in zip(columns, values, strict=True):
                column.append(value)
    return _filled(header.file, names, columns)


def of_frames(file: str, frames: Iterator[extxyz.Frame]) -> Header:
    """The numbers that the first frame has. Raises BadData where there is no frame."""
    if (first := next(frames, None)) is None:
        raise BadData(f"{file}: it contains no frames", "give a trajectory that psiflow sample wrote")
    return Header(file, [key for key, value in first.info.items() if isinstance(value, (int, float))])


def read_frames(header: Header, names: Sequence[str], frames: Iterable[extxyz.Frame]) -> dict[str, array[float]]:
    """The values of these keys. Raises BadData, with the frame."""
    columns = [array("d") for _ in names]
    for frame in frames:
        for column, name in zip(columns, names, strict=True):
            value = frame.info.get(name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise BadData(
                    f"{frame.where}: {name} is {value!r}, not a finite number", "correct or remove this frame"
                )
            column.append(float(value))
    return _filled(header.file, names, columns)


def _filled(file: str, names: Sequence[str], columns: list[array[float]]) -> dict[str, array[float]]:
    if columns and not columns[0]:
        raise BadData(f"{file}: it contains no rows", "give a table that psiflow sample --properties wrote")
    return dict(zip(names, columns, strict=True))
