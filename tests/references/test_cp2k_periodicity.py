"""Which box and which Poisson solver a frame gets. No CP2K needed."""

from __future__ import annotations

import pytest

from psiflow_cli.references.cp2k.structure.periodicity import Box, Impossible, Wishes, box

WATER = [[0.0, 0.0, 0.1], [0.76, 0.0, 0.6], [-0.77, 0.05, 0.57]]
OPEN = [False] * 3
SLAB = [True, True, False]
NO_RIGHT_ANGLES = [[20.0, 0, 0], [10.0, 18.0, 0], [0, 0, 20.0]]


def cube(edge: float) -> list[list[float]]:
    return [[edge, 0.0, 0.0], [0.0, edge, 0.0], [0.0, 0.0, edge]]


def centre(found: Box) -> list[float]:
    return [(max(x) + min(x)) / 2 for x in zip(*found.positions, strict=True)]


def test_a_periodic_frame_is_as_it_is() -> None:
    periodic = Box(cube(5.0), WATER, "XYZ", "PERIODIC")
    assert box(WATER, cube(5.0), [True] * 3, Wishes()) == periodic
    assert box(WATER, cube(5.0), [True] * 3, Wishes(edge=9.0, cell=cube(8.0), periodic="NONE")) == periodic


@pytest.mark.parametrize("cell", [None, cube(0.0)])
def test_a_molecule_without_a_cell_gets_a_cube(cell: list[list[float]] | None) -> None:
    found = box(WATER, cell, OPEN, Wishes())
    assert (found.cell, found.periodic, found.solver, found.edge) == (cube(12.0), "NONE", "WAVELET", 12.0)
    assert centre(found) == pytest.approx([6.0] * 3)


def test_atoms_share_a_cube() -> None:
    assert box([[7.0, 8.0, 9.0]], None, OPEN, Wishes()).cell == cube(10.0)


def test_a_molecule_keeps_its_own_cell() -> None:
    found = box(WATER, cube(8.0), OPEN, Wishes("MT", cell=cube(20.0), periodic="NONE"))
    assert found == Box(cube(8.0), WATER, "NONE", "MT")
    inside = [[x + 4.0 for x in row] for row in WATER]
    assert box(inside, cube(8.0), OPEN, Wishes()).positions == inside
    assert centre(box(WATER, cube(8.0), OPEN, Wishes())) == pytest.approx([4.0] * 3)


@pytest.mark.parametrize(
    ("cell", "solver", "reason"),
    [
        (cube(6.0), "MT", r"6\.0 Å high along its open axis X; the solver MT needs 7\.1 Å"),
        (cube(5.0), "WAVELET", "the solver WAVELET needs"),
        (NO_RIGHT_ANGLES, "MT", "needs a rectangular cell"),
    ],
)
def test_a_cell_without_room_is_taken_only_where_the_template_says_so(
    cell: list[list[float]], solver: str, reason: str
) -> None:
    with pytest.raises(Impossible, match=reason) as caught:
        box(WATER, cell, OPEN, Wishes(solver))
    assert "--set box=" in str(caught.value)
    found = box(WATER, cell, OPEN, Wishes(solver, periodic="NONE"))
    assert found.cell == cell
    assert found.tight in str(caught.value)
    assert found.edge is None


@pytest.mark.parametrize("own", [None, "PERIODIC"])
@pytest.mark.parametrize(("pbc", "periodic"), [(OPEN, "NONE"), (SLAB, "XY")])
def test_nor_where_the_solver_is_not_the_templates(pbc: list[bool], periodic: str, own: str | None) -> None:
    """As in CP2K's tests dftd3_t1.inp and graphene_periodic_XY.inp: 0.39 Ha and 0.013 Ha from what CP2K computes."""
    with pytest.raises(Impossible, match="and a POISSON_SOLVER to use the cell as it is"):
        box(WATER, cube(5.0), pbc, Wishes(own, periodic=periodic))


@pytest.mark.parametrize("periodic", ["", "NONE"])
@pytest.mark.parametrize(
    ("cell", "solver", "reason"),
    [
        ([[9.0, 0, 0], [0, 10.0, 0], [0, 0, 11.0]], "WAVELET", "needs a cubic cell"),
        (NO_RIGHT_ANGLES, None, "needs a cubic cell"),
        (cube(1.5), "MT", r"span 1\.5 Å along X, but the cell only 1\.5 Å"),
    ],
)
def test_what_cp2k_cannot_compute_in(cell: list[list[float]], solver: str, reason: str, periodic: str) -> None:
    with pytest.raises(Impossible, match=reason):
        box(WATER, cell, OPEN, Wishes(solver, periodic=periodic))


def test_the_templates_cell_for_a_molecule_without_one() -> None:
    wishes = Wishes("MT", cell=cube(9.0), periodic="NONE")
    assert box(WATER, None, OPEN, wishes) == Box(cube(9.0), WATER, "NONE", "MT")


def test_where_the_template_centres_the_atoms() -> None:
    assert centre(box(WATER, cube(9.0), OPEN, Wishes("MT", centre=[]))) == pytest.approx([4.5] * 3)
    assert centre(box(WATER, cube(5.0), [True] * 3, Wishes(centre=[1.0, 2.0, 3.0]))) == pytest.approx([1.0, 2.0, 3.0])


def test_atoms_are_not_moved_away_from_what_has_a_place_in_space() -> None:
    wishes = Wishes(fixed="&EXTERNAL_POTENTIAL")
    with pytest.raises(Impossible, match="away from the template's &EXTERNAL_POTENTIAL"):
        box(WATER, None, OPEN, wishes)
    inside = [[x + 4.0 for x in row] for row in WATER]
    assert box(inside, cube(8.0), OPEN, wishes).positions == inside


def test_the_users_cube() -> None:
    found = box(WATER, cube(30.0), OPEN, Wishes(edge=9.0, cell=cube(20.0), periodic="NONE"))
    assert (found.cell, found.edge) == (cube(9.0), 9.0)
    with pytest.raises(Impossible, match=r"box=6.0 is too small"):
        box(WATER, None, OPEN, Wishes(edge=6.0))


@pytest.mark.parametrize(
    ("pbc", "own", "solver"),
    [
        (OPEN, "PERIODIC", "WAVELET"),
        (OPEN, "MT", "MT"),
        ([True] * 3, "WAVELET", "WAVELET"),
        (SLAB, None, "ANALYTIC"),
        (SLAB, "MT", "MT"),
    ],
)
def test_solvers(pbc: list[bool], own: str | None, solver: str) -> None:
    assert box(WATER, cube(20.0), pbc, Wishes(own)).solver == solver


@pytest.mark.parametrize(("pbc", "own"), [([True] * 3, "MT"), (SLAB, "WAVELET")])
def test_solvers_that_cannot(pbc: list[bool], own: str) -> None:
    with pytest.raises(Impossible, match=f"POISSON_SOLVER {own} does not support"):
        box(WATER, cube(20.0), pbc, Wishes(own))


def test_a_slab_without_vacuum_is_refused() -> None:
    with pytest.raises(Impossible, match=r"5\.0 Å high along its open axis Z"):
        box(WATER, cube(5.0), SLAB, Wishes())
    assert box(WATER, cube(5.0), SLAB, Wishes("ANALYTIC", periodic="XY")).cell == cube(5.0)
    cell = [[5.0, 0.0, 0.0], [0.0, 5.0, 0.0], [0.0, 0.0, 12.0]]
    assert box(WATER, cell, SLAB, Wishes()) == Box(cell, WATER, "XY", "ANALYTIC")
    with pytest.raises(Impossible, match="no cell"):
        box(WATER, None, SLAB, Wishes(edge=20.0))
