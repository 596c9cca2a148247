"""A frame's lines, taken apart and checked."""

from __future__ import annotations

from itertools import islice
from typing import BinaryIO, NamedTuple

from psiflow_cli.errors import BadData
from psiflow_cli.extxyz import comment
from psiflow_cli.extxyz.columns import Place, Words
from psiflow_cli.extxyz.comment import Malformed, Pair
from psiflow_cli.extxyz.frame import STRUCTURE
from psiflow_cli.extxyz.layout import PLAIN, Cell, Layout, parse_cell, parse_layout, parse_pbc

# A wrong count must not make us hold a whole file: the columns of so many lines are checked before more are read.
_BLOCK = 8192
_MARK = b"\0"
_SPELLING = {name.lower(): name for name in STRUCTURE}


class Head(NamedTuple):
    """What a comment line says of the structure."""

    pairs: list[Pair]
    layout: Layout
    lattice: Cell | None
    periodic: tuple[bool, bool, bool]


def parse_comment(text: str, place: Place) -> Head:
    """Take a comment line apart."""
    try:
        pairs = comment.split(text)
        structure = {}
        for key, _, value in pairs:
            if value is None:
                continue
            if key in STRUCTURE:
                structure[key] = comment.text(value)
            elif key.lower() in _SPELLING:
                raise ValueError(f"write {_SPELLING[key.lower()]}= instead of {key}=")
        lattice = parse_cell(structure["Lattice"]) if "Lattice" in structure else None
        layout = parse_layout(structure.get("Properties", PLAIN))
        everywhere = lattice is not None
        periodic = parse_pbc(structure["pbc"]) if "pbc" in structure else (everywhere,) * 3
    except Malformed as error:
        raise place.error(
            str(error), "check that every quote and bracket is closed, and that no key occurs twice", 1
        ) from None
    except ValueError as error:
        hint = 'as in Lattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3 pbc="T T T"'
        raise place.error(str(error), hint, 1) from None
    if lattice is None and any(periodic):
        raise place.error("periodic, but without a Lattice", 'add Lattice="…", or write pbc="F F F"', 1)
    return Head(pairs, layout, lattice, periodic)


def read_atoms(stream: BinaryIO, natoms: int, layout: Layout, place: Place) -> tuple[list[bytes], Words, bool]:
    """The lines of the atoms, their words, and whether any of these is not plain ASCII or has an underscore."""
    lines: list[bytes] = []
    words: Words = []
    foreign = False
    while len(lines) < natoms:
        block = list(islice(stream, min(_BLOCK, natoms - len(lines))))
        if not block:
            hint = "the file is cut off, or the atom count is wrong"
            raise place.error(f"ends after {len(lines)} of {natoms} atoms", hint, 1 + len(lines))
        text = b"".join(block)
        # One split of everything is faster than one of each line; marks show whether the words are where they belong.
        of_block = (_MARK + b" ").join(block).split()
        marks = of_block[layout.width :: layout.width + 1]
        right = len(of_block) == len(block) * (layout.width + 1) - 1 and len(marks) == marks.count(_MARK)
        if not right or _MARK in text:
            raise _wrong_width(block, layout, place, len(lines))
        words += [_MARK, *of_block] if words else of_block
        lines += block
        foreign = foreign or b"_" in text or not text.isascii()
    return lines, words, foreign


def _wrong_width(block: list[bytes], layout: Layout, place: Place, before: int) -> BadData:
    rows = list(map(bytes.split, block))
    at = next((i for i, row in enumerate(rows) if len(row) != layout.width or _MARK in block[i]), 0)
    atom, row = before + at + 1, rows[at]
    if _MARK in block[at]:
        return place.error(f"atom {atom}: a NUL byte", "is this a text file?", 1 + atom)
    hint = f"the atom count of frame {place.index} may be wrong, or the file may be cut off"
    if len(row) == 1 and row[0].isdigit():
        hint = f"the atom count of frame {place.index} looks too large"
    elif len(row) > layout.width:
        hint = "name the other columns in Properties=species:S:1:pos:R:3:…"
    columns = "1 column" if len(row) == 1 else f"{len(row)} columns"
    return place.error(f"atom {atom}: {columns}, expected {layout.width}", hint, 1 + atom)
