"""Pairs of neighbours: those of ASE's list, by vesin and by matscipy."""

from __future__ import annotations

import sys

import pytest

np = pytest.importorskip("numpy")
ase = pytest.importorskip("ase")
pytest.importorskip("matscipy", reason="matscipy comes with MACE and NequIP")

from ase import Atoms  # noqa: E402
from ase.neighborlist import neighbor_list  # noqa: E402

from psiflow_cli.worker.models.batching.neighbours import neighbours, whole_cell  # noqa: E402


@pytest.mark.parametrize("without", [None, "vesin"])
@pytest.mark.parametrize("pbc", [(True, True, True), (True, False, True), (False, True, False), (False, False, False)])
def test_pairs_are_those_of_ases_list(
    pbc: tuple[bool, bool, bool], without: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if without:
        monkeypatch.setitem(sys.modules, without, None)
    numbers = np.random.default_rng(3)
    cell = np.diag([4.0, 5.0, 6.0]) + numbers.normal(0, 0.5, (3, 3))
    atoms = Atoms("H20", positions=numbers.uniform(-3, 9, (20, 3)), cell=cell, pbc=pbc)
    whole = whole_cell(atoms.positions, atoms.cell.array, pbc, 4.0)
    pairs, shifts = neighbours(atoms.positions, whole, pbc, 4.0)
    first, second, expected = neighbor_list("ijS", atoms, 4.0, max_nbins=27)
    assert sorted(zip(*pairs.tolist(), *shifts.T.tolist(), strict=True)) == sorted(
        zip(first.tolist(), second.tolist(), *expected.T.tolist(), strict=True)
    )
    assert (np.diff(pairs[0]) >= 0).all()
    vectors = atoms.positions[pairs[1]] - atoms.positions[pairs[0]] + shifts @ whole
    assert np.linalg.norm(vectors, axis=1).max() < 4.0


def test_one_atom_has_no_neighbours() -> None:
    place, nowhere = np.zeros((1, 3)), (False, False, False)
    pairs, shifts = neighbours(place, whole_cell(place, None, nowhere, 5.0), nowhere, 5.0)
    assert (pairs.shape, shifts.shape) == ((2, 0), (0, 3))
