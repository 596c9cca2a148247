"""The comment line of extended XYZ as its words: what is enough to copy frames without touching a number."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TextIO

_WORD = re.compile(r"""(?:[^\s"']|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')+""")


def words(comment: str) -> list[str]:
    """Its `key=value` pairs as they are written, quotes and all."""
    return _WORD.findall(comment)


def frames(lines: TextIO) -> Iterator[tuple[list[str], list[str]]]:
    """The words of the comment and the lines of the atoms of each frame."""
    while first := lines.readline():
        if first.strip():
            comment = words(lines.readline())
            yield comment, [lines.readline() for _ in range(int(first))]


def is_isolated_atom(comment: list[str], atoms: list[str]) -> bool:
    """Whether a frame is there for its atomic energy only."""
    return len(atoms) == 1 and any(word.replace('"', "") == "config_type=IsolatedAtom" for word in comment)
