"""What the columns of a frame are, and what the comment says of its cell."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

PLAIN = "species:S:1:pos:R:3"  # the columns of a frame whose comment has no `Properties`

Cell = tuple[tuple[float, float, float], ...]
_FLAGS = {
    "T": True, "true": True, "True": True, "TRUE": True, "1": True,
    "F": False, "false": False, "False": False, "FALSE": False, "0": False,
}  # fmt: skip


def volume(cell: Cell) -> float:
    """Of the cell, in Å³; 0 for vectors in a plane."""
    a, b, c = cell
    across = (b[1] * c[2] - b[2] * c[1], b[2] * c[0] - b[0] * c[2], b[0] * c[1] - b[1] * c[0])
    return abs(math.fsum(x * y for x, y in zip(a, across, strict=True)))


class Column(NamedTuple):
    """One property of the atoms, which may span several columns of text."""

    name: str
    kind: str  # S, R, I or L
    size: int  # how many columns of text
    start: int


class Layout:
    """The columns of a frame, in order."""

    __slots__ = ("_by_name", "columns", "pos", "width")

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = tuple(columns)
        self.width = sum(column.size for column in columns)
        self._by_name = {column.name: column for column in columns}
        self.pos = self._by_name.get("pos", Column("pos", "R", 3, 0))

    def find(self, name: str) -> Column | None:
        return self._by_name.get(name)

    def __str__(self) -> str:
        return ":".join(f"{name}:{kind}:{size}" for name, kind, size, _ in self.columns)


def layout_of(shapes: Iterable[tuple[str, str, int]]) -> Layout:
    """The layout of properties of these names, kinds and sizes, one after another."""
    columns: list[Column] = []
    start = 0
    for name, kind, size in shapes:
        columns.append(Column(name, kind, size, start))
        start += size
    return Layout(columns)


@lru_cache(maxsize=256)
def parse_layout(text: str) -> Layout:
    """Parse the value of `Properties`; raises ValueError that says what is wrong with it."""
    fields = text.split(":")
    if len(fields) % 3:
        raise ValueError(f"Properties={text[:60]} is not a list of NAME:KIND:COLUMNS")
    shapes: dict[str, tuple[str, str, int]] = {}
    for name, kind, size in zip(fields[::3], fields[1::3], fields[2::3], strict=True):
        if kind not in ("S", "R", "I", "L"):
            raise ValueError(f"Properties: {name} has the kind {kind!r}, which is not S, R, I or L")
        if not (size.isascii() and size.isdecimal() and len(size) < 7 and int(size) > 0):
            raise ValueError(f"Properties: {name} has {size!r} columns")
        if not name or name in shapes:
            raise ValueError(f"Properties: {name!r} twice" if name else "Properties: a column without a name")
        shapes[name] = (name, kind, int(size))
    layout = layout_of(shapes.values())
    _require(layout, "pos", "R", 3)
    if layout.find("species") is None and layout.find("Z") is not None:
        _require(layout, "Z", "I", 1)
    else:
        _require(layout, "species", "S", 1)
    return layout


def _require(layout: Layout, name: str, kind: str, size: int) -> None:
    column = layout.find(name)
    if column is None or column[1:3] != (kind, size):
        raise ValueError(f"Properties needs {name}:{kind}:{size}")


LONGEST = 1e8
"""The largest component of a cell vector, in Å (1 cm); positions in such a cell have about eight decimals."""


@lru_cache(maxsize=256)
def parse_cell(text: str) -> Cell | None:
    """The three cell vectors (Å) in the value of `Lattice`; None where it is all zeros.

    Raises ValueError for anything but nine numbers that span a volume and are at most `LONGEST`.
    """
    words = text.replace(",", " ").split()
    try:
        numbers = list(map(float, words))
    except ValueError:
        numbers = []
    if len(numbers) != 9 or not all(map(math.isfinite, numbers)) or "_" in text or not text.isascii():
        raise ValueError(f'Lattice="{text[:80]}" is not nine numbers')
    if not any(numbers):
        return None
    a, b, c = (tuple(x + 0.0 for x in numbers[i : i + 3]) for i in (0, 3, 6))  # no -0.0
    if max(map(abs, numbers)) > LONGEST:
        raise ValueError(f'Lattice="{text[:80]}" has a vector longer than {LONGEST:.0e} Å')
    lengths = math.hypot(*a) * math.hypot(*b) * math.hypot(*c)
    volume = (
        a[0] * (b[1] * c[2] - b[2] * c[1])
        - a[1] * (b[0] * c[2] - b[2] * c[0])
        + a[2] * (b[0] * c[1] - b[1] * c[0])
    )  # fmt: skip
    if not abs(volume) > 1e-9 * lengths:
        raise ValueError(f'Lattice="{text[:80]}" has no volume')
    return (a[0], a[1], a[2]), (b[0], b[1], b[2]), (c[0], c[1], c[2])


@lru_cache(maxsize=64)
def parse_pbc(text: str) -> tuple[bool, bool, bool]:
    """The value of `pbc`: three flags, or one for all; raises ValueError."""
    words = text.replace(",", " ").split()
    try:
        flags = [_FLAGS[word] for word in words]
    except KeyError:
        flags = []
    if len(flags) == 1:
        flags *= 3
    if len(flags) != 3:
        raise ValueError(f'pbc="{text[:40]}" is not three values T or F')
    return flags[0], flags[1], flags[2]
