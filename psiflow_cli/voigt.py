"""Symmetric 3x3 matrices, such as stresses, as six numbers in the order of Voigt: xx, yy, zz, yz, xz, xy."""

from __future__ import annotations

from collections.abc import Sequence


def is_defined(pbc: Sequence[bool]) -> bool:
    """Whether a frame has a stress: only one that is periodic in all three directions has a volume of its own.

    Everything that reads, predicts, writes or uses a stress asks this. Codes give numbers for slabs, too, but over
    whatever volume they take: MACE 0.3.16 divides by that of a cell of its own.
    """
    return all(pbc)


def from_matrix(matrix: Sequence[Sequence[float]]) -> list[float]:
    """The six numbers of a matrix (any sequence of rows), its off-diagonal elements averaged."""
    m = [[float(matrix[i][j]) for j in range(3)] for i in range(3)]
    off_diagonal = [(m[i][j] + m[j][i]) / 2 for i, j in ((1, 2), (0, 2), (0, 1))]
    return [m[0][0], m[1][1], m[2][2], *off_diagonal]


def to_matrix(numbers: Sequence[float]) -> list[list[float]]:
    """The rows of the matrix."""
    xx, yy, zz, yz, xz, xy = numbers
    return [[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]
