"""The text of a frame with keys and columns set; every float64 reads back bit for bit."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import cast

from psiflow_cli.extxyz.frame import Frame
from psiflow_cli.extxyz.layout import Column, Layout, layout_of
from psiflow_cli.extxyz.spelling import written

Rows = Sequence[Sequence[float]]
Scalar = bool | int | float | str
Values = Sequence[Scalar] | Sequence[Sequence[Scalar]]
Columns = Mapping[str, tuple[str, Values]]
"""(kind S, R, I or L; for each atom a value or a list of values) by name."""


def render(
    frame: Frame,
    set_info: Mapping[str, object] | None = None,
    set_columns: Columns | None = None,
    drop: Collection[str] = (),
) -> str:
    """The frame's text with these keys and columns replaced or added, and those in `drop` left out.

    What is not named stays as it is written, in its order; what is new follows in the order given. Values are
    builtins. A plain XYZ frame becomes an extended one if anything changes.
    """
    info, columns = dict(set_info or {}), dict(set_columns or {})
    written = {**_named_atoms(frame), **columns}
    dropped = {c.name for c in frame.layout.columns if c.name in drop and c.name not in written}
    keys_dropped = {pair.key for pair in frame.pairs if pair.key in drop and pair.key not in info}
    if not (info or written or dropped or keys_dropped):
        return "\n".join([str(frame.natoms), frame.comment, *frame.lines, ""])
    layout, lines = _atoms(frame, written, dropped)
    return f"{frame.natoms}\n{_comment(frame, info, keys_dropped, layout)}\n{lines}"


def _named_atoms(frame: Frame) -> dict[str, tuple[str, Values]]:
    """Symbols for a species column that was written as atomic numbers, which other programs do not read."""
    species = frame.layout.find("species")
    if species is None or not any(map(bytes.isdigit, set(frame.words[species.start :: frame.layout.width + 1]))):
        return {}
    return {"species": ("S", frame.symbols)}


def _comment(frame: Frame, info: Mapping[str, object], dropped: Collection[str], layout: Layout) -> str:
    changed = {key: written(key, value) for key, value in info.items()}
    is_plain = not any(pair.key == "Properties" and pair.value is not None for pair in frame.pairs)
    pairs = [(pair.key, pair.raw) for pair in frame.pairs]
    front = []
    if is_plain:
        pairs = _tidy(frame)
        front = [f"Properties={layout}"]
    elif layout.columns != frame.layout.columns:
        changed["Properties"] = f"Properties={layout}"
    is_set, texts = set(changed), list(front)
    for key, raw in pairs:
        if key not in is_set:
            texts += [] if key in dropped else [raw]
        elif key in changed:  # else a bare word has the name of a key as well, and the first of both was replaced
            texts.append(changed.pop(key))
    return " ".join([*texts, *changed.values()])


def _tidy(frame: Frame) -> list[tuple[str, str]]:
    """The comment of a plain XYZ frame as pairs that every reader takes apart; its free text becomes one of them."""
    pairs = [(pair.key, written(pair.key, frame.info[pair.key])) for pair in frame.pairs if pair.key in frame.info]
    lattice = [(pair.key, pair.raw) for pair in frame.pairs if pair.key not in frame.info]
    words = {pair.key for pair in frame.pairs if pair.value is None}
    text = " ".join(pair.key for pair in frame.pairs if pair.value is None) if frame.pairs else frame.comment.strip()
    free = [("comment", written("comment", text))] if text and not any(p.key == "comment" for p in frame.pairs) else []
    return lattice + [pair for pair in pairs if pair[0] not in words] + free


def _atoms(frame: Frame, columns: Columns, dropped: Collection[str]) -> tuple[Layout, str]:
    """The layout with these columns set and left out, and the text of the atoms."""
    old = frame.layout.columns
    shapes = [_shape(column, columns) for column in old if column.name not in dropped]
    changed = bool(dropped) or any(column.name in columns for column in old)
    parts = _replaced(frame, columns, dropped) if changed else [frame.lines]
    for name, (kind, rows) in columns.items():
        if frame.layout.find(name) is None:
            parts.append(_texts(kind, rows))
            shapes.append((name, kind, _width(rows)))
    return layout_of(shapes), _joined(parts)


def _replaced(frame: Frame, columns: Columns, dropped: Collection[str]) -> list[list[str]]:
    """The frame's columns as text, with some of them replaced or left out."""
    parts: list[list[str]] = []
    start = 0
    for column in frame.layout.columns:
        if column.name in columns or column.name in dropped:
            parts += _unchanged(frame, start, column.start)
            start = column.start + column.size
        if column.name in columns:
            parts.append(_texts(*columns[column.name]))
    return parts + _unchanged(frame, start, frame.layout.width)


def _joined(parts: list[list[str]]) -> str:
    return "\n".join(map(" ".join, zip(*parts, strict=True))) + "\n"


def _unchanged(frame: Frame, start: int, end: int) -> list[list[str]]:
    """Neighbouring columns of text as they are written, or nothing."""
    if end == start:
        return []
    words = frame.words
    lines = [b" ".join(words[at + start : at + end]) for at in range(0, len(words), frame.layout.width + 1)]
    return [b"\n".join(lines).decode().split("\n")]


def _shape(column: Column, columns: Columns) -> tuple[str, str, int]:
    if column.name not in columns:
        return column[:3]
    kind, rows = columns[column.name]
    return column.name, kind, _width(rows)


def _width(rows: Values) -> int:
    first = rows[0]
    return len(first) if isinstance(first, (list, tuple)) else 1


def _texts(kind: str, values: Values) -> list[str]:
    """The text of each atom's values; raises ValueError for rows of unequal length."""
    if not isinstance(values[0], (list, tuple)):
        scalars = cast(Sequence[Scalar], values)
        if kind != "S":
            return [_word(kind, value) for value in scalars]
        words = {value: _word(kind, value) for value in set(scalars)}  # of few elements
        return [words[value] for value in scalars]
    rows = cast(Sequence[Sequence[Scalar]], values)
    count = len(rows[0])
    if set(map(len, rows)) != {count}:
        raise ValueError("rows of unequal length")
    if kind == "R" and count == 3:
        return _vectors(rows)
    return [" ".join([_word(kind, value) for value in row]) for row in rows]


def _vectors(rows: Sequence[Sequence[Scalar]]) -> list[str]:
    """Rows of three numbers as Python writes them; by msgspec, seven times as fast, where that writes the same."""
    if set(map(type, itertools.chain.from_iterable(rows))) == {float}:
        text: bytes = importlib.import_module("msgspec.json").encode(rows)
        # it has other words for what is not finite, and for exponents, which Python uses below 1e-4
        if b"e" not in text and b"n" not in text and b"0.0000" not in text:
            return text[2:-2].replace(b",", b" ").decode().split("] [")
    return [f"{float(x)!r} {float(y)!r} {float(z)!r}" for x, y, z in rows]


def _word(kind: str, value: Scalar) -> str:
    if kind == "R":
        return repr(float(value))
    if kind == "I":
        return repr(int(value))
    if kind == "L":
        return "T" if value else "F"
    if not isinstance(value, str) or not value or value.split() != [value]:
        raise ValueError(f"{value!r} cannot be written in a column")
    return value


def new_frame(
    symbols: Sequence[str],
    positions: Rows,
    cell: Rows | None,
    pbc: Sequence[bool],
    info: Mapping[str, object] | None = None,
    columns: Columns | None = None,
) -> str:
    """The text of a frame; `positions` and the rows of `cell` in Å, `info` and `columns` as for `render`."""
    named: Columns = {"species": ("S", symbols), "pos": ("R", positions), **(columns or {})}
    layout = _layout_text(tuple((name, kind, _width(rows)) for name, (kind, rows) in named.items()))
    pairs = [] if cell is None else [written("Lattice", [list(map(float, row)) for row in cell])]
    pairs.append(f"Properties={layout}")
    pairs += [written(key, value) for key, value in (info or {}).items()]
    pairs.append(written("pbc", [bool(flag) for flag in pbc]))
    lines = _joined([_texts(kind, rows) for kind, rows in named.values()])
    return f"{len(symbols)}\n{' '.join(pairs)}\n{lines}"


@lru_cache(maxsize=256)
def _layout_text(shapes: tuple[tuple[str, str, int], ...]) -> str:
    return str(layout_of(shapes))
