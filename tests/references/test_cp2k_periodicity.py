"""Which box and which Poisson solver a frame gets. No CP2K needed."""

from __future__ import annotations

import pytest

from psiflow_cli.references.cp2k.periodicity import Box, Impossible, box

WATER = [[0.0, 0.0, 0.1], [0.76, 0.0, 0.6], [-0.77, 0.05, 0.57]]


def cube(edge: float) -> list[list[float]]:
    return [[edge, 0.0, 0.0], [0.0, edge, 0.0], [0.0, 0.0, edge]]


def centre(found: Box) -> list[float]:
    return [(max(x) + min(x)) / 2 for x in zip(*found.positions, strict=True)]


def test_a_periodic_frame_is_as_it_is() -> None:
    assert box(WATER, cube(5.0), [True] * 3, None, None) == Box(cube(5.0), WATER, "XYZ", "PERIODIC")


@pytest.mark.parametrize("cell", [None, cube(5.0), cube(0.0), [[20.0, 0, 0], [10.0, 18.0, 0], [0, 0, 20.0]]])
def test_a_molecule_gets_a_cube(cell: list[list[float]] | None) -> None:
    found = box(WATER, cell, [False] * 3, None, None)
    assert (found.cell, found.periodic, found.solver) == (cube(12.0), "NONE", "WAVELET")
    assert centre(found) == pytest.approx([6.0] * 3)


def test_atoms_share_a_cube() -> None:
    assert box([[7.0, 8.0, 9.0]], None, [False] * 3, None, None).cell == cube(10.0)


def test_a_molecule_keeps_a_cell_that_will_do() -> None:
    found = box(WATER, cube(8.0), [False] * 3, "MT", None)
    assert found == Box(cube(8.0), WATER, "NONE", "MT")
    inside = [[x + 4.0 for x in row] for row in WATER]
    assert box(inside, cube(8.0), [False] * 3, None, None).positions == inside
    assert centre(box(WATER, cube(8.0), [False] * 3, None, None)) == pytest.approx([4.0] * 3)


def test_the_users_cube() -> None:
    assert box(WATER, None, [False] * 3, None, 9.0).cell == cube(9.0)
    with pytest.raises(Impossible, match=r"box=6.0 is too small"):
        box(WATER, None, [False] * 3, None, 6.0)


@pytest.mark.parametrize(
    ("pbc", "own", "solver"),
    [
        ([False] * 3, "PERIODIC", "WAVELET"),
        ([False] * 3, "MT", "MT"),
        ([True] * 3, "WAVELET", "WAVELET"),
        ([True, True, False], None, "ANALYTIC"),
        ([True, True, False], "MT", "MT"),
    ],
)
def test_solvers(pbc: list[bool], own: str | None, solver: str) -> None:
    assert box(WATER, cube(20.0), pbc, own, None).solver == solver


@pytest.mark.parametrize(("pbc", "own"), [([True] * 3, "MT"), ([True, True, False], "WAVELET")])
def test_solvers_that_cannot(pbc: list[bool], own: str) -> None:
    with pytest.raises(Impossible, match=f"POISSON_SOLVER {own} cannot"):
        box(WATER, cube(20.0), pbc, own, None)


def test_a_slab_without_vacuum_is_refused() -> None:
    with pytest.raises(Impossible, match=r"5\.0 Å high along its open axis Z"):
        box(WATER, cube(5.0), [True, True, False], None, None)
    cell = [[5.0, 0.0, 0.0], [0.0, 5.0, 0.0], [0.0, 0.0, 12.0]]
    assert box(WATER, cell, [True, True, False], None, None) == Box(cell, WATER, "XY", "ANALYTIC")
