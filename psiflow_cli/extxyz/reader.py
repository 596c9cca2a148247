"""Frames from a file, one at a time, each checked before it is handed on."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from psiflow_cli.errors import BadData, counted
from psiflow_cli.extxyz.check import parse_comment, read_atoms
from psiflow_cli.extxyz.columns import Place, check_foreign, elements, positions
from psiflow_cli.extxyz.frame import Frame
from psiflow_cli.extxyz.stream import open_bytes

_LONGEST_COUNT = 256


def read(path: str | Path, name: str = "") -> Iterator[Frame]:
    """Every frame of an extended or plain XYZ file (`-`: stdin), which messages call `name`.

    Raises BadData at the first thing that is wrong, NoInput for a file that cannot be opened.
    """
    name = name or ("<stdin>" if str(path) == "-" else str(path))
    try:
        with open_bytes(path, name) as stream:
            yield from _frames(stream, name)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise BadData(f"{name}: the gzip file is damaged or cut off", "copy or write it again") from None


def _frames(stream: BinaryIO, source: str) -> Iterator[Frame]:
    line, index, natoms = 1, 0, 0
    while head := stream.readline(_LONGEST_COUNT):
        if head.isspace():
            _only_blanks(stream, Place(source, line, index))
            break
        count = _count(head)
        if count is None:
            raise _no_count(head, Place(source, line, index), natoms)
        natoms, index = count, index + 1
        yield _frame(stream, natoms, Place(source, line, index))
        line += 2 + natoms
    if not index:
        raise BadData(f"{source}:1: it contains no frames", "an XYZ file starts with a number of atoms")


def _frame(stream: BinaryIO, natoms: int, place: Place) -> Frame:
    if not natoms:
        raise place.error("no atoms", "remove the frame")
    comment = stream.readline()
    if not comment:
        raise place.error("ends after its first line", "the file is cut off")
    try:
        text = comment.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise place.error("the comment line is not UTF-8 text", "is this a text file?", 1) from None
    head = parse_comment(text, place)
    lines, words, foreign = read_atoms(stream, natoms, head.layout, place)
    if foreign:
        check_foreign(words, head.layout, place)
    symbols = elements(words, head.layout, place)
    xyz = positions(words, head.layout, place)
    frame = Frame(place, text, lines, words, symbols, xyz, *head)
    if "_JSON" in text:
        _ = frame.info  # raises for what is no JSON, which other programs could not read either
    return frame


def _count(head: bytes) -> int | None:
    """The number of atoms on a frame's first line, or None."""
    text = head.strip()
    whole = len(head) < _LONGEST_COUNT or head.endswith(b"\n")
    return int(text) if whole and text.isdigit() and len(text) < 16 else None


def _no_count(head: bytes, place: Place, natoms: int) -> BadData:
    text = ascii(head.strip()[:40].decode(errors="replace"))
    if not place.index:
        place.index = 1
        return place.error(f"{text} is not a number of atoms", "is this an (extended) XYZ file?")
    return place.error(
        f"{text} follows its {counted(natoms, 'atom')}, where the next frame's number of atoms should be",
        f"the atom count of frame {place.index} looks wrong",
    )


def _only_blanks(stream: BinaryIO, place: Place) -> None:
    """What follows a blank line must be blank, too: ASE ends there, and would lose the rest without a word."""
    for text in stream:
        if not text.isspace():
            place.index += 1
            raise place.error("a blank line before it", "remove the blank line")
