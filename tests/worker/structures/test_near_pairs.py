"""Near pairs: those of ASE's neighbour list, and molecules in large boxes without delay."""

from __future__ import annotations

import time

import pytest

np = pytest.importorskip("numpy")
ase = pytest.importorskip("ase")

from ase import Atoms  # noqa: E402
from ase.neighborlist import neighbor_list  # noqa: E402

from psiflow_cli.worker.structures.near_pairs import near_pairs  # noqa: E402


@pytest.mark.parametrize("pbc", [(True, True, True), (True, False, True), (False, False, False)])
@pytest.mark.parametrize("cutoff", [0.1, 0.5, 1.5])
def test_pairs_are_those_of_ases_neighbour_list(pbc: tuple[bool, ...], cutoff: float) -> None:
    numbers = np.random.default_rng(1)
    count = 0
    for _ in range(6):
        cell = np.diag(numbers.uniform(1.0, 6.0, 3)) + numbers.normal(0, 0.5, (3, 3))
        atoms = Atoms("H20", positions=numbers.uniform(-6, 9, (20, 3)), cell=cell, pbc=pbc)
        first, second, distance = near_pairs(atoms, cutoff)
        expected = neighbor_list("ijd", atoms, cutoff, max_nbins=27)
        pairs = {tuple(sorted(map(int, pair))) for pair in zip(first, second, strict=True)}
        assert pairs == {tuple(sorted(map(int, pair))) for pair in zip(*expected[:2], strict=True)}
        if pairs:
            assert distance.min() == pytest.approx(expected[2].min(), abs=1e-12)
        count += len(pairs)
    assert count or cutoff < 1.5


def test_a_molecule_in_a_large_box_takes_no_time() -> None:
    atoms = Atoms("H30", positions=np.random.default_rng(2).normal(0, 3, (30, 3)), cell=[50.0] * 3)
    near_pairs(atoms, 0.1)  # the import of SciPy
    begin = time.process_time()
    near_pairs(atoms, 0.1)
    assert time.process_time() - begin < 0.05, "ASE's neighbour list takes a second"
