"""Similar frames: displacement, work and stiffness by hand, through the sides of a cell and between cells."""

from __future__ import annotations

import math

import pytest

from psiflow_cli import extxyz
from psiflow_cli.stages.check.findings import Findings
from psiflow_cli.stages.check.sample import read
from psiflow_cli.stages.check.units.pairs import Neighbours
from tests.stages.check.checked import frame

CELL = ((5.0, 0.0, 0.0), (1.0, 6.0, 0.0), (0.5, -0.7, 7.0))


def place(fractions, cell=CELL):
    return [sum(f * vector[axis] for f, vector in zip(fractions, cell, strict=True)) for axis in range(3)]


def pair(folder, *texts):
    """What the last of some frames makes with those before it."""
    (folder / "data.xyz").write_text("".join(texts))
    neighbours, found = Neighbours(), None
    for each in extxyz.read(folder / "data.xyz"):
        found = neighbours.nearest(read(each, None, Findings()))
    return found


def boxed(moved, forces, energy, cell=CELL, symbols=("O", "O"), pbc="T T T"):
    lattice = " ".join(repr(x) for vector in cell for x in vector)
    return frame(moved, forces, energy, f' Lattice="{lattice}"', symbols, pbc)


def test_a_pair_through_the_side_of_a_triclinic_cell(tmp_path):
    first, second = place((0.01, 0.98, 0.5)), place((0.5, 0.5, 0.5))
    jump = [x + y for x, y in zip(first, place((-1, 1, 0)), strict=True)]
    jump[0] += 0.2
    one = boxed([first, second], [[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]], -5.0)
    two = boxed([jump, second], [[0.5, 2.0, 3.5], [0.0, 0.0, 0.0]], -5.1)
    found = pair(tmp_path, one, two)
    assert found.same_cell
    # the mean displacement, (0.1, 0, 0), does not count
    assert found.distance == pytest.approx(0.1)
    assert found.energy == pytest.approx(-0.1)
    assert found.work == pytest.approx(-0.75 * 0.2)
    assert found.stiffness == pytest.approx(math.sqrt(0.5) / math.sqrt(0.02))
    assert pair(tmp_path, one, two.replace("T T T", "F F F")) is None, "so far without periodicity"


def test_a_pair_in_two_cells(tmp_path):
    wide = tuple(tuple(1.02 * x for x in vector) for vector in CELL)
    first, second = (0.1, 0.2, 0.3), (0.6, 0.5, 0.9)
    forces = [[0.0] * 3] * 2
    one = boxed([place(first), place(second)], forces, 0.0)
    same = boxed([place(first, wide), place(second, wide)], forces, 0.0, wide)
    assert pair(tmp_path, one, same) is None, "nothing but the cell has changed"
    moved = place(first, wide)
    moved[2] += 0.3
    found = pair(tmp_path, one, boxed([moved, place(second, wide)], forces, 0.0, wide))
    assert not found.same_cell
    assert found.distance == pytest.approx(0.15)
    other = tuple(tuple(1.2 * x for x in vector) for vector in CELL)
    assert pair(tmp_path, one, boxed([moved, place(second, other)], forces, 0.0, other)) is None


def test_the_nearest_of_several_and_no_pair_of_other_atoms(tmp_path):
    def at(x, symbols=("O", "O")):
        return boxed([[0.0, 0.0, 0.0], [2.0 + x, 0.0, 0.0]], [[x, 0.0, 0.0], [-x, 0.0, 0.0]], x, symbols=symbols)

    assert pair(tmp_path, at(0.0), at(0.3), at(-0.2), at(0.4)).distance == pytest.approx(0.05)
    assert pair(tmp_path, at(0.0), at(0.3, ("O", "H"))) is None
    assert pair(tmp_path, at(0.0)) is None
    assert pair(tmp_path, at(0.1), at(0.1)) is None
