"""Whether two frames are one structure: four numbers for each frame, which nearly agree where the structures do.

`frame_id` names the exact numbers of a frame. A file that has passed through another program holds the same structure
in other numbers: rounded to eight decimals, with atoms wrapped into the cell or moved by whole cell vectors, with other
vectors of the same lattice (a, b, c as a, a + b, c), or with the atoms in another order. `place` agrees for all of
these to within `TOLERANCE`. A structure that is rotated or moved as a whole is another one, as is a molecule in another
box: its labels differ, or are other components of the same vectors.

Each of the four numbers is a sum over the atoms of q cos(p). The weight q depends on the element (with `ordered`, on
the atom's number in the frame instead), so the order does not matter. The phase p grows by a whole number of turns
along a cell vector, so wrapping does not matter, and there is no edge at which a rounded coordinate could fall on
either side. It grows everywhere, by about `_SLOPE` per Å, but unevenly, so that displacements which cancel in one sum
do not cancel in all four, in a perfect crystal either. The cell vectors are first reduced (Selling, J. Reine Angew.
Math. 77, 143 (1874)), by a scalar product in which no usual lattice has vectors of equal length: those would make the
result ambiguous. The reduced vectors are also a part of each sum.

The sums are divided by √N for N atoms. Rounding to eight decimals then changes them by up to about 5e-8, in frames of
any size, and by a little more if the lattice is rounded, too; `TOLERANCE` is 2.5e-7. Moving one atom by d Å changes
some of them by about d/√N, and a step of 0.1 fs, which moves all atoms, changes all four by 1e-4 or more. The steps of
a relaxation are several structures down to about 1e-6 Å. Six decimals are too few for a structure to be recognised.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections import Counter
from collections.abc import Collection, Iterable
from functools import lru_cache
from itertools import combinations
from math import cos, sin
from operator import add, mul, sub
from typing import NamedTuple

from psiflow_cli.elements import SYMBOLS
from psiflow_cli.extxyz.frame import Frame
from psiflow_cli.extxyz.identity import frame_id, given_inputs, given_moments
from psiflow_cli.extxyz.layout import Cell

Vector = tuple[float, float, float]
Place = tuple[int, int, int, int]
Axis = tuple[float, float, Vector]
"""Whole turns of the phase in one period, the shift, and the turn of the argument (1/Å)."""

_UNIT = 2.0**-36  # of the four numbers
TOLERANCE = round(2.5e-7 / _UNIT)
"""Each of the four numbers of two frames differs by no more, if they are one structure."""

_SLOPE = 1.3  # 1/Å
_UNEVEN = 0.4  # part of the slope that varies
_SHIFTS = (1.1, 2.3, 0.4)
_GOLDEN = 0.6180339887498949
_ALONG: Vector = (0.83, 0.47, 0.29)
_METRIC: tuple[Vector, Vector, Vector] = ((1.11, 0.12, 0.19), (0.12, 0.87, 0.07), (0.19, 0.07, 1.31))
"""A scalar product: symmetric, positive, and near the usual one."""
_OF_LATTICE = [[cos(9 * number + place + 1) for place in range(9)] for number in range(4)]


class _Axes(NamedTuple):
    """What a lattice makes of positions."""

    turns: tuple[Axis, ...]
    shares: list[float]  # what the lattice itself adds to the four sums


def place(frame: Frame, inputs: Collection[str] = (), *, ordered: bool = False) -> Place:
    """Four whole numbers, each of 64 bits; with `ordered`, frames whose atoms are in another order are far apart.

    Frames with other elements, periodicity or values of the inputs are far apart, too.
    """
    kind = f"{'none' if frame.lattice is None else sum(frame.periodic)} {given_inputs(frame, inputs)}"
    if moments := given_moments(frame, inputs):
        kind += f" {[round(moment, 6) for moment in moments]}"
    weights, origin, scale = _of_kind(tuple(frame.symbols), kind, ordered)
    try:
        turns, shares = _axes(frame.lattice, frame.periodic)
        sums = [sum(map(mul, weights, map(cos, phase))) for phase in _phases(frame, turns)]
    except (ValueError, OverflowError):  # numbers near the largest there are, that no program would round
        return _of_text(frame_id(frame, inputs))
    first, second, third, fourth = (
        (start + round((total * scale + share) / _UNIT)) % 2**64
        for start, total, share in zip(origin, sums, shares, strict=True)
    )
    return first, second, third, fourth


def _of_text(text: str) -> Place:
    first, second, third, fourth = struct.unpack("<4Q", hashlib.sha256(text.encode()).digest())
    return first, second, third, fourth


def projected(frame: Frame, vectors: Iterable[Iterable[float]]) -> float:
    """A sum over all components of a vector for each atom, weighted by where the atom is.

    It is the same in whatever way the structure is written, and another one if two atoms' vectors are exchanged.
    """
    try:
        phases = _phases(frame, _axes(frame.lattice, frame.periodic).turns)[:3]
    except (ValueError, OverflowError):
        return math.nan
    return math.fsum(
        x * cos(p)
        for column, phase in zip(zip(*vectors, strict=True), phases, strict=True)
        for x, p in zip(column, phase, strict=True)
    )


def _phases(frame: Frame, turns: Iterable[Axis]) -> list[list[float]]:
    """The four phases of each atom."""
    u, v, w = (_along(frame.xyz, *axis) for axis in turns)
    one, two = list(map(add, u, v)), list(map(sub, u, v))
    return [list(map(operation, part, w)) for part in (one, two) for operation in (add, sub)]


def _along(xyz: list[list[float]], whole: float, shift: float, turn: Vector) -> list[float]:
    """For each atom a phase that is `whole` turns longer one period further."""
    a, b, c = turn
    along = [(factor, column) for factor, column in zip(turn, xyz, strict=True) if factor]
    if len(along) == 1:  # the usual cell, and in half the time
        ((a, column),) = along
        args = [a * x + shift for x in column]
    else:
        args = [a * x + b * y + c * z + shift for x, y, z in zip(*xyz, strict=True)]
    return [whole * (arg + _UNEVEN * s) for arg, s in zip(args, map(sin, args), strict=True)]


@lru_cache(maxsize=32)
def _of_kind(symbols: tuple[str, ...], kind: str, ordered: bool) -> tuple[list[float], Place, float]:
    """The weight of each atom, where the four numbers of frames of this kind start, and the scale of the sums."""
    atoms = symbols if ordered else sorted(Counter(symbols).items())
    numbers = range(len(symbols)) if ordered else map(SYMBOLS.index, symbols)
    weights = [0.7 + 0.6 * math.fmod((number + 1) * _GOLDEN, 1.0) for number in numbers]
    return weights, _of_text(f"{atoms} {kind}"), 1 / math.sqrt(len(symbols))


@lru_cache(maxsize=64)
def _axes(lattice: Cell | None, periodic: tuple[bool, bool, bool]) -> _Axes:
    if lattice is None:
        identity = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
        return _Axes(tuple((3.0, s, _times(_SLOPE / 3, v)) for s, v in zip(_SHIFTS, identity, strict=True)), [0.0] * 4)
    vectors = _reduced([v for v, wraps in zip(lattice, periodic, strict=True) if wraps])
    count = len(vectors)
    vectors += [v for v, wraps in zip(lattice, periodic, strict=True) if not wraps]
    turns = []
    for number, (vector, across) in enumerate(zip(vectors, reciprocal(tuple(vectors)), strict=True)):
        length = math.hypot(*vector)
        if number < count:
            whole, turn = max(1.0, float(round(_SLOPE * length / math.tau))), math.tau
        else:  # no period of the lattice: what is moved by a whole vector is another structure
            whole, turn = 3.0, _SLOPE / 3 * length
        turns.append((whole, _SHIFTS[number], _times(turn, across)))
    numbers = [x for vector in vectors for x in vector]
    return _Axes(tuple(turns), [sum(map(mul, factors, numbers)) for factors in _OF_LATTICE])


def _reduced(vectors: list[Vector]) -> list[Vector]:
    """The shortest vectors of the superbase without acute angles, the same for every basis of a lattice."""
    if not vectors:
        return []
    basis = _short(vectors)
    base = [_times(-1.0, _sum(basis)), *basis]
    while acute := next((p for p in combinations(range(len(base)), 2) if _is_acute(base[p[0]], base[p[1]])), None):
        one, changed = base[acute[0]], list(base)
        others = [number for number in range(len(base)) if number not in acute]
        for number in others:
            changed[number] = _sum([base[number], *[one] * (2 // len(others))])
        changed[acute[0]] = _times(-1.0, one)
        if not _squares(changed) < _squares(base):
            break  # vectors of very different lengths: what is left is rounding
        base = changed
    base.sort(key=lambda vector: _product(vector, vector))
    sign = math.copysign(1.0, sum(map(mul, base[0], _ALONG)))
    return [_times(sign, vector) for vector in base[: len(vectors)]]


def _short(vectors: list[Vector]) -> list[Vector]:
    """A basis of which no vector becomes shorter by whole multiples of one other, so that few steps are left."""
    basis = list(vectors)
    changed = True
    while changed:
        changed = False
        for one in range(len(basis)):
            for two in range(len(basis)):
                square = _product(basis[one], basis[one])
                ratio = _product(basis[one], basis[two]) / _product(basis[two], basis[two])
                if one != two and abs(ratio) > 0.5 + 1e-9:
                    shorter = _sum([basis[one], _times(-float(round(ratio)), basis[two])])
                    if _product(shorter, shorter) < square:  # not so where the lengths differ by 16 digits
                        basis[one] = shorter
                        changed = True
    return basis


def _squares(vectors: list[Vector]) -> float:
    """The sum of the squared lengths, which each step of the reduction makes smaller."""
    return math.fsum(_product(vector, vector) for vector in vectors)


def _is_acute(one: Vector, two: Vector) -> bool:
    return _product(one, two) > 1e-9 * math.sqrt(_product(one, one) * _product(two, two))


def _product(one: Vector, two: Vector) -> float:
    return math.fsum(x * sum(map(mul, row, two)) for x, row in zip(one, _METRIC, strict=True))


def _times(factor: float, vector: Vector) -> Vector:
    return factor * vector[0], factor * vector[1], factor * vector[2]


def _sum(vectors: Iterable[Vector]) -> Vector:
    x, y, z = map(math.fsum, zip(*vectors, strict=True))
    return x, y, z


def reciprocal(lattice: Cell) -> list[Vector]:
    """The vectors (1/Å) whose products with a position are its fractional coordinates."""
    across = [_cross(lattice[(i + 1) % 3], lattice[(i + 2) % 3]) for i in range(3)]
    volume = sum(map(mul, lattice[0], across[0]))
    return [_times(1 / volume, vector) for vector in across]


def _cross(a: Vector, b: Vector) -> Vector:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
