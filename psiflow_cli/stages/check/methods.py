"""Frames of one kind whose energies fall into two groups: labels of two methods, under one name."""

from __future__ import annotations

import math
from array import array
from collections import defaultdict
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple, TypeVar

from psiflow_cli.extxyz.layout import volume
from psiflow_cli.stages.check.findings import WARNING, Findings, Places
from psiflow_cli.stages.check.sample import Sample, Table

GROUPS = "the energies fall into two groups {:.3g} eV per atom apart"
HINT = "were they computed with two methods or settings? train on one of them"
_APART_EV = 0.15  # per atom: two methods are further apart, and what motion explains comes without a gap
_GAP = 5.0  # times the width of the wider group
_FEWEST, _SHARE = 4, 0.05
_SORTED = 20_000
_MOST = 10_000
"""So many kinds of frames are told apart; more than these are of one frame each."""

T = TypeVar("T", int, float)


class Gap(NamedTuple):
    place: int  # the first value above it
    width: float


class Methods:
    """What tells one method from another besides the energies of the table, in 12 bytes a frame."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._kinds, self._sizes, self._forces = array("I"), array("f"), array("f")
        self._names: dict[tuple[object, ...], int] = {}

    def see(self, sample: Sample) -> None:
        info = sample.frame.info
        about = (str(info.get(key, "")) for key in ("config_type", "head", "charge", "multiplicity"))
        name = (*sorted(sample.frame.symbols), *sample.frame.periodic, *about)
        known = name in self._names or len(self._names) < _MOST
        self._kinds.append(self._names.setdefault(name, len(self._names) + 1) if known else 0)
        self._sizes.append(_size(sample))
        squares = math.fsum(x * x for row in sample.forces or () for x in row)
        self._forces.append(math.sqrt(squares / sample.natoms))

    def report(self, findings: Findings, places: Places) -> bool:
        """Say whether there are such groups; returns whether one file has frames of both."""
        mixed = False
        of_kind: defaultdict[int, array[int]] = defaultdict(lambda: array("I"))
        for index, (kind, energy) in enumerate(zip(self._kinds, self._table.energies, strict=True)):
            if kind and not math.isnan(energy):
                of_kind[kind].append(index)
        for of_one in of_kind.values():
            indices = sorted(evenly(of_one), key=self._table.energy_per_atom) if len(of_one) >= 2 * _FEWEST else []
            split = gap([self._table.energy_per_atom(index) for index in indices], _APART_EV)
            if split and self._alike(indices[: split.place], indices[split.place :]):
                least = self._table.energy_per_atom(indices[split.place])
                below, above = array("I"), array("I")
                for index in of_one:
                    (above if self._table.energy_per_atom(index) >= least else below).append(index)
                mixed |= bool({places[i].file for i in below} & {places[i].file for i in above})
                few = min(below, above, key=len)
                what = f"{GROUPS.format(split.width)}, of frames of one composition that look alike"
                finding = findings.add(WARNING, "mixed-references", what, HINT, "groups")
                finding.concerns(len(few), (places[index] for index in few))
        return mixed

    def _alike(self, below: list[int], above: list[int]) -> bool:
        """Whether the two groups have the same sizes and forces: other structures would have other energies."""
        for values in (self._sizes, self._forces):
            (low, spread), (high, other) = (_middle([values[index] for index in side]) for side in (below, above))
            if abs(low - high) > 2 * max(spread, other) + 0.01 * max(low, high):
                return False
        return True


def evenly(values: array[T]) -> array[T]:
    """Evenly spaced ones, if they are many: enough to see two groups, where a million would take much to sort."""
    return values[:: len(values) // _SORTED + 1]


def gap(values: Sequence[float], least: float) -> Gap | None:
    """The widest gap in sorted values, if it is one between two groups, each with its share of them."""
    fewest = max(_FEWEST, math.ceil(_SHARE * len(values)))
    if len(values) < 2 * fewest:
        return None
    at = max(range(fewest, len(values) - fewest + 1), key=lambda place: values[place] - values[place - 1])
    width = values[at] - values[at - 1]
    inside = max(_width(values[:at]), _width(values[at:]))
    return Gap(at, width) if width > max(least, _GAP * inside) else None


def _width(values: Sequence[float]) -> float:
    """Of the middle four fifths of sorted values."""
    tenth = len(values) // 10
    return values[-1 - tenth] - values[tenth]


def _middle(values: list[float]) -> tuple[float, float]:
    """The median, and 1.4826 times the median distance from it."""
    middle = median(values)
    return middle, 1.4826 * median(abs(value - middle) for value in values)


def _size(sample: Sample) -> float:
    """The volume per atom (Å³) where there is one, else the radius of gyration (Å)."""
    frame = sample.frame
    if frame.lattice and all(frame.periodic):
        return volume(frame.lattice) / frame.natoms
    means = [math.fsum(part) / len(part) for part in frame.xyz]
    return math.sqrt(
        math.fsum((x - m) ** 2 for m, part in zip(means, frame.xyz, strict=True) for x in part) / frame.natoms
    )
