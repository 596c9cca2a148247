"""Frames of a training as text, for trainers that read files of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

from psiflow_cli.extxyz import comment
from psiflow_cli.extxyz.frame import is_marked


def training_frames(lines: TextIO) -> Iterator[tuple[list[str], list[str]]]:
    """The `key=value` words of the comment and the lines of the atoms, as they are written; no isolated atoms."""
    while first := lines.readline():
        if first.strip():
            pairs = comment.split(lines.readline())
            atoms = [lines.readline() for _ in range(int(first))]
            if not is_marked(len(atoms), pairs):
                yield [pair.raw for pair in pairs], atoms
