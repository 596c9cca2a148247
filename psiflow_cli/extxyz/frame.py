"""One structure of a file: the text as it was read, and what it says."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from psiflow_cli.extxyz import comment
from psiflow_cli.extxyz.columns import Place, Words, values
from psiflow_cli.extxyz.comment import Pair
from psiflow_cli.extxyz.layout import Cell, Layout

# What ASE, too, takes out of the comment before the rest becomes `info`.
STRUCTURE = ("Lattice", "Properties", "pbc")
_TYPE = "config_type"
_ISOLATED = {"isolatedatom", "isolatedatoms", "isolated", "singleatom", "freeatom"}
"""`IsolatedAtom`, as the trainers spell it, and other people's spellings, less case and separators."""


@dataclass(slots=True)
class Frame:
    """A frame that `read` has checked: as many atoms and columns as it says, known elements, finite positions."""

    place: Place
    comment: str  # the second line
    raw: list[bytes]  # the atoms' lines as they were read
    words: Words
    symbols: list[str]
    xyz: list[list[float]]  # x, y and z (Å) of all atoms
    pairs: list[Pair]
    layout: Layout
    lattice: Cell | None
    periodic: tuple[bool, bool, bool]
    _info: dict[str, Any] | None = field(default=None, repr=False, compare=False)

    @property
    def where(self) -> str:
        """`file:line: frame N`, the start of every message about this frame."""
        return f"{self.place.source}:{self.place.line}: frame {self.place.index}"

    @property
    def natoms(self) -> int:
        return len(self.raw)

    @property
    def lines(self) -> list[str]:
        """The atoms' lines as text, without line ends."""
        return [line.rstrip().decode() for line in self.raw]

    @property
    def info(self) -> dict[str, Any]:
        """The comment's values by key, without Lattice, Properties and pbc; a bare word is True.

        Raises BadData for a value that announces JSON and is none.
        """
        if self._info is None:
            try:
                self._info = {
                    pair.key: True if pair.value is None else comment.value(pair.value)
                    for pair in self.pairs
                    if pair.key not in STRUCTURE
                }
            except ValueError as error:
                raise self.place.error(str(error), "remove it, or write it again", 1) from None
        return self._info

    @property
    def properties(self) -> list[tuple[str, str, int]]:
        """(name, kind S, R, I or L, number of columns) of each property of the atoms, in order."""
        return [column[:3] for column in self.layout.columns]

    @property
    def positions(self) -> list[list[float]]:
        """[natoms][3] in Å."""
        return list(map(list, zip(*self.xyz, strict=True)))

    @property
    def cell(self) -> list[list[float]] | None:
        """The three cell vectors in Å, one a row; None without a Lattice."""
        return None if self.lattice is None else [list(vector) for vector in self.lattice]

    @property
    def pbc(self) -> list[bool]:
        """Periodic along each cell vector?"""
        return list(self.periodic)

    def column(self, name: str) -> list[Any]:
        """A value for each atom, or a list of values where the property has several columns.

        Raises KeyError where there is no such property, BadData where its text is not what `Properties` says.
        """
        column = self.layout.find(name)
        if column is None:
            raise KeyError(name)
        parts = values(self.words, self.layout, column, self.place)
        return parts[0] if column.size == 1 else list(map(list, zip(*parts, strict=True)))


def is_isolated_atom(frame: Frame) -> bool:
    """One atom, and either no periodicity or `config_type=IsolatedAtom` (a one-atom crystal is no isolated atom)."""
    return frame.natoms == 1 and (not any(frame.periodic) or _is_isolated(frame.info.get(_TYPE)))


def _is_isolated(config_type: object) -> bool:
    return re.sub(r"[\W_]", "", str(config_type)).lower() in _ISOLATED


def is_marked(natoms: int, pairs: Iterable[Pair]) -> bool:
    """Whether a frame says itself that it is one, as those of psiflow's training files do."""
    return natoms == 1 and any(
        p.key == _TYPE and p.value is not None and _is_isolated(comment.text(p.value)) for p in pairs
    )
