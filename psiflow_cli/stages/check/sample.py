"""One frame with its labels, as the checks see it, and all of them in brief; wrong labels are found on the way."""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, cast

from psiflow_cli.errors import BadData
from psiflow_cli.extxyz import LABELS, Frame, label
from psiflow_cli.extxyz.frame import is_isolated_atom
from psiflow_cli.stages.check.findings import ERROR, Findings, Where, where
from psiflow_cli.stages.train.data_checks import head_of

if TYPE_CHECKING:
    from psiflow_cli.messages import Labels

Keys = dict[str, str] | None
Composition = tuple[tuple[str, int], ...]
_PREFIX = re.compile(r"^.*?: frame \d+: ")
_CHECKS = {"not a finite number": "nan", "could both be": "spelling", "no key": "keys", "no column": "keys"}
"""The check that a message belongs to; any other is about a label's form."""


class Sample(NamedTuple):
    """A frame and those of its labels that can be read."""

    frame: Frame
    where: Where
    isolated: bool
    energy: float | None  # eV
    forces: list[list[float]] | None  # eV/Å
    stress: list[float] | None  # [xx, yy, zz, yz, xz, xy] in eV/Å³

    @property
    def natoms(self) -> int:
        return self.frame.natoms


class Table:
    """Energy, composition and head of every frame, which several checks look at, in 14 bytes a frame."""

    def __init__(self) -> None:
        self.energies = array("d")
        """In eV; nan of an isolated atom, and where there is none."""
        self.kinds = array("I")
        self.compositions: dict[tuple[Composition, str], int] = {}
        """Each with the charge and the multiplicity, in the order of their numbers in `kinds`."""
        self._sizes: list[int] = []  # atoms of each
        self.heads, self._heads = array("H"), dict[str, int]()

    def see(self, sample: Sample) -> None:
        composition = tuple(sorted(Counter(sample.frame.symbols).items()))
        state = f"{sample.frame.info.get('charge', 0)} {sample.frame.info.get('multiplicity', '')}"
        kind = self.compositions.setdefault((composition, state), len(self.compositions))
        if kind == len(self._sizes):
            self._sizes.append(sample.natoms)
        self.kinds.append(kind)
        self.heads.append(self._heads.setdefault(head_of(sample.frame), len(self._heads)))
        self.energies.append(math.nan if sample.energy is None or sample.isolated else sample.energy)

    def part(self, numbers: Sequence[int]) -> Table:
        """The same of some of the frames alone."""
        part, compositions = Table(), list(self.compositions)
        for number in numbers:
            kind = part.compositions.setdefault(compositions[self.kinds[number]], len(part.compositions))
            if kind == len(part._sizes):
                part._sizes.append(self.natoms(number))
            part.kinds.append(kind)
            part.energies.append(self.energies[number])
        return part

    def by_head(self) -> dict[str, array[int]]:
        """The numbers of the frames of each head."""
        numbers = {name: array("I") for name in self._heads}
        names = list(self._heads)
        for number, head in enumerate(self.heads):
            numbers[names[head]].append(number)
        return numbers

    def natoms(self, index: int) -> int:
        """How many atoms a frame has."""
        return self._sizes[self.kinds[index]]

    def energy_per_atom(self, index: int) -> float:
        """In eV."""
        return self.energies[index] / self.natoms(index)


def read(frame: Frame, keys: Keys, findings: Findings) -> Sample:
    """The frame with its labels; one that cannot be read is a finding, and missing."""
    place = where(frame)
    labels: dict[str, object] = dict.fromkeys(LABELS)
    for name in LABELS:
        try:
            labels[name] = label(frame, name, keys)
        except BadData as error:
            what = _PREFIX.sub("", error.message)
            check = next((check for words, check in _CHECKS.items() if words in what), "label")
            findings.add(ERROR, check, what, error.hint, f"{name} {check}").see(place)
    return Sample(frame, place, is_isolated_atom(frame), **cast("Labels", labels))
