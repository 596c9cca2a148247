"""The atoms' columns of text as numbers, flags, words and elements; what cannot be read is said with its line."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from psiflow_cli.elements import SYMBOLS
from psiflow_cli.errors import BadData
from psiflow_cli.extxyz.layout import Column, Layout
from psiflow_cli.extxyz.species import suggestion, symbols_of

Words = list[bytes]
"""The words of all atoms' lines, one after another, with one more between any two lines."""

_BOOLS = {b"T": True, b"True": True, b"true": True, b"TRUE": True}
_BOOLS |= {b"F": False, b"False": False, b"false": False, b"FALSE": False}
_CONVERT: dict[str, Callable[[bytes], Any]] = {"R": float, "I": int, "L": _BOOLS.__getitem__, "S": bytes.decode}
_CALLED = {"R": "a number", "I": "an integer", "L": "T or F", "S": "UTF-8 text"}


@dataclass(slots=True)
class Place:
    source: str  # the file as the user named it
    line: int  # number of the frame's first line, from 1
    index: int  # its place in the file, from 1

    def error(self, problem: str, hint: str = "", offset: int = 0) -> BadData:
        """An error at line `offset` of this frame: 0 is the count, 1 the comment, 2 the first atom."""
        where = f"{self.source}:{self.line + offset}: frame {self.index}"
        return BadData(_printable(f"{where}: {problem}"), _printable(hint))


def _printable(text: str) -> str:
    """Without what a terminal would obey: the text may quote a broken file."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in text)


def parts_of(words: Words, layout: Layout, column: Column) -> list[list[bytes]]:
    """The columns of text that a property spans."""
    return [words[i :: layout.width + 1] for i in range(column.start, column.start + column.size)]


def values(words: Words, layout: Layout, column: Column, place: Place) -> list[list[Any]]:
    """Each of the columns of text that a property spans, as float, int, bool or str."""
    convert = _CONVERT[column.kind]
    try:
        return [list(map(convert, part)) for part in parts_of(words, layout, column)]
    except (ValueError, KeyError):
        raise _unreadable(parts_of(words, layout, column), column, place) from None


def positions(words: Words, layout: Layout, place: Place) -> list[list[float]]:
    """x, y and z of all atoms, which must be finite."""
    xyz = values(words, layout, layout.pos, place)
    # A sum is finite only if all of its terms are; the other way round, finite terms may overflow.
    if not math.isfinite(sum(map(sum, xyz))) and not all(all(map(math.isfinite, part)) for part in xyz):
        at = next(i for i, row in enumerate(zip(*xyz, strict=True)) if not all(map(math.isfinite, row)))
        raise place.error(f"atom {at + 1}: its position is not finite", "remove the frame", 2 + at)
    return xyz


def check_foreign(words: Words, layout: Layout, place: Place) -> None:
    """Refuse what Python takes for a number and other programs do not (1_000), and words that are no text."""
    for column in layout.columns:
        parts = parts_of(words, layout, column)
        foreign = (word for part in parts for word in part if b"_" in word or not word.isascii())
        if not all(_readable(word, column.kind) for word in foreign):
            raise _unreadable(parts, column, place)


def _unreadable(parts: list[list[bytes]], column: Column, place: Place) -> BadData:
    """The error for a column that has something else in it than its kind says."""
    rows = enumerate(zip(*parts, strict=True))
    at, word = next((at, word) for at, row in rows for word in row if not _readable(word, column.kind))
    text = word.decode(errors="replace")[:40]
    return place.error(f"atom {at + 1}: {column.name}: {text!a} is not {_CALLED[column.kind]}", "", 2 + at)


def _readable(word: bytes, kind: str) -> bool:
    try:
        _CONVERT[kind](word)
    except (ValueError, KeyError):
        return False
    return kind == "S" or b"_" not in word


def elements(words: Words, layout: Layout, place: Place) -> list[str]:
    """The element of each atom, from `species` or `Z`; they must not contradict each other."""
    species, numbers = layout.find("species"), layout.find("Z")
    if species is None:
        assert numbers is not None  # parse_layout sees to it
        return _symbols(words[numbers.start :: layout.width + 1], place)
    symbols = _symbols(words[species.start :: layout.width + 1], place)
    if numbers is not None and numbers[1:3] == ("I", 1):
        others = _symbols(words[numbers.start :: layout.width + 1], place)
        for at, (symbol, by_number) in enumerate(zip(symbols, others, strict=True)):
            if symbol != by_number:
                problem = f"atom {at + 1}: its species is {symbol}, but its Z is {SYMBOLS.index(by_number) + 1}"
                raise place.error(problem, "correct the one that is wrong", 2 + at)
    return symbols


def _symbols(words: Sequence[bytes], place: Place) -> list[str]:
    try:
        return symbols_of(words)
    except KeyError as error:
        at = words.index(error.args[0])
        name = words[at].decode(errors="replace")
        raise place.error(f"atom {at + 1}: {name[:20]!a} is not an element", suggestion(name), 2 + at) from None
