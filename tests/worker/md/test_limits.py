"""The guards of a walker, against distances counted by hand."""

from __future__ import annotations

import math
import sys
from typing import Any

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("ase")

from ase import Atoms  # noqa: E402

from psiflow_cli.worker.md.limits import broken_by_step, broken_by_structure, cell_lost, overlap  # noqa: E402

FREE = {"force": None, "temperature": None, "distance": None}


def brute(atoms: Any) -> float:
    """The smallest distance over all images within two cells."""
    shifts = [range(-2, 3) if periodic else (0,) for periodic in atoms.pbc]
    images = [
        i * atoms.cell[0] + j * atoms.cell[1] + k * atoms.cell[2]
        for i in shifts[0]
        for j in shifts[1]
        for k in shifts[2]
    ]
    wrapped = atoms.copy()
    wrapped.wrap()
    x = wrapped.positions
    return min(float(np.linalg.norm(x[i] - x[j] + s)) for i in range(len(x)) for j in range(i) for s in images)


@pytest.mark.parametrize("pbc", [(1, 1, 1), (1, 1, 0), (0, 1, 0), (0, 0, 0)])
@pytest.mark.parametrize("matscipy", [True, False])
def test_the_nearest_pair_is_found_in_any_cell(
    pbc: tuple[int, int, int], matscipy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if matscipy:
        pytest.importorskip("matscipy", reason="matscipy is not installed")
    else:
        monkeypatch.setitem(sys.modules, "matscipy.neighbours", None)
    rng = np.random.default_rng(1)
    found = 0
    for _ in range(25):
        cell = np.diag(rng.uniform(4, 7, 3)) + rng.uniform(-1, 1, (3, 3))
        atoms = Atoms("He5", rng.uniform(-2, 6, (5, 3)), cell=cell, pbc=pbc)
        exact = brute(atoms)
        wrong = overlap(FREE | {"distance": 1.5}, atoms)
        assert (wrong is not None) == (exact < 1.5)
        if wrong is not None:
            found += 1
            assert wrong == {"reason": f"distance {exact:.4g} Å < 1.5 Å", "kind": "distance"}
    assert 0 < found < 25


def test_a_large_empty_cell_costs_little() -> None:
    atoms = Atoms("He2", [[0, 0, 0], [0, 0, 499.8]], cell=[500, 500, 500], pbc=True)
    wrong = overlap(FREE | {"distance": 0.3}, atoms)  # 10^9 bins if they were as wide as the limit
    assert wrong is not None
    assert wrong["reason"] == "distance 0.2 Å < 0.3 Å"


def test_slabs_without_a_third_vector_and_single_atoms() -> None:
    slab = Atoms("He2", [[0.1, 0, 0], [3.9, 0, 0]], cell=[4, 4, 0], pbc=(True, True, False))
    assert overlap(FREE | {"distance": 0.5}, slab) is not None
    assert overlap(FREE | {"distance": 0.1}, slab) is None
    assert overlap(FREE | {"distance": 9.0}, Atoms("He")) is None
    assert overlap(FREE, slab) is None


def test_force_is_the_norm_on_one_atom_and_limits_are_not_reached_by_equality() -> None:
    zero, forces = np.zeros((2, 3)), np.array([[3.0, 4.0, 0.0], [1.0, 0.0, 0.0]])
    assert broken_by_step(FREE | {"force": 5.0}, 0.0, zero, forces, 1.0) is None
    assert broken_by_step(FREE | {"force": 4.9}, 0.0, zero, forces, 1.0) == {
        "reason": "force 5 eV/Å > 4.9 eV/Å",
        "kind": "force",
    }
    assert broken_by_step(FREE | {"temperature": 10.0}, 0.0, zero, forces, 10.5) == {
        "reason": "temperature 10.5 K > 10 K",
        "kind": "temperature",
    }


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("what", ["energy", "positions", "forces", "temperature"])
def test_what_is_no_number_is_named(what: str, bad: float) -> None:
    values: dict[str, Any] = {
        "energy": 1.0,
        "positions": np.zeros((2, 3)),
        "forces": np.zeros((2, 3)),
        "temperature": 1.0,
    }
    if what in ("energy", "temperature"):
        values[what] = bad
    else:
        values[what][1, 2] = bad
    assert broken_by_step(FREE, **values) == {"reason": f"{what} not finite", "kind": "nan"}


def test_a_misfit_is_a_distance_where_atoms_are_given_or_else_a_spread() -> None:
    near = Atoms("He2", [[0.0, 0.0, 0.0], [0.0, 0.0, 0.5]])
    limits = FREE | {"distance": 1.0, "spread": 0.1}
    spread = (0.0, [0.05, 0.2])
    assert broken_by_structure(limits, near, spread) == {"reason": "distance 0.5 Å < 1 Å", "kind": "distance"}
    violation = {"reason": "committee's spread 0.2 eV/Å > 0.1 eV/Å", "kind": "spread"}
    assert broken_by_structure(limits, None, spread) == violation
    assert broken_by_structure(FREE | {"spread": 0.1}, near, spread) == violation
    assert broken_by_structure(limits, None, None) is None
    assert broken_by_structure(FREE, near, spread) is None


@pytest.mark.parametrize(
    ("now", "lost"),
    [
        ([[4, 0, 0], [0, 4, 0], [0, 0, 4]], ""),
        ([[2, 0, 0], [0, 2, 0], [0, 0, 2.0]], ""),
        ([[1.8, 0, 0], [0, 1.8, 0], [0, 0, 1.8]], "volume"),
        ([[9, 0, 0], [0, 9, 0], [0, 0, 9]], "volume"),
        ([[0.3, 0, 0], [0, 8, 0], [0, 0, 9]], "width along a"),  # thin, at about the same volume
        ([[4, 0, 0], [100, 4, 0], [0, 0, 4]], "width along a"),  # sheared
        ([[4, 0, 0], [4, 0, 0], [0, 0, 4]], "volume"),  # flat
        ([[math.nan, 0, 0], [0, 4, 0], [0, 0, 4]], "not finite"),
    ],
)
def test_a_cell_is_lost_by_its_volume_or_a_width(now: list[list[float]], lost: str) -> None:
    found = cell_lost([[4.0, 0, 0], [0, 4.0, 0], [0, 0, 4.0]], np.array(now, dtype=float))
    assert lost in found["reason"] if lost and found else not lost
    assert bool(found) == bool(lost)
