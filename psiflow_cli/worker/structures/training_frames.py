"""Frames of a training as text, for trainers that read files of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

from psiflow_cli.extxyz import comment
from psiflow_cli.extxyz.frame import is_marked


def training_frames(lines: TextIO, head: str | None = None) -> Iterator[tuple[list[str], list[str]]]:
    """The `key=value` words of the comment and the lines of the atoms, as they are written; no isolated atoms.

    `head`: of frames of this head only.
    """
    while first := lines.readline():
        if first.strip():
            pairs = comment.split(lines.readline())
            atoms = [lines.readline() for _ in range(int(first))]
            if not is_marked(len(atoms), pairs) and head in (None, _head(pairs)):
                yield [pair.raw for pair in pairs], atoms


def _head(pairs: list[comment.Pair]) -> str:
    return next((str(comment.value(pair.value)) for pair in pairs if pair.key == "head" and pair.value), "")
