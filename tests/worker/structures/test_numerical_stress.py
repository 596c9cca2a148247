"""Stresses from strained cells: ASE's own analytic stress, a sheared cell, and frames that cannot be strained."""

from __future__ import annotations

from typing import Any

import pytest

np = pytest.importorskip("numpy")
ase = pytest.importorskip("ase")

from ase.build import bulk  # noqa: E402
from ase.calculators.emt import EMT  # noqa: E402

from psiflow_cli.worker.structures import numerical_stress  # noqa: E402
from tests.worker.structures.test_hessian import CONTEXT, wire  # noqa: E402

MODEL: dict[str, Any] = {"family": "tests.worker.structures.test_hessian", "members": ["emt"]}


def strained(seed):
    """Eight atoms of copper off their places, in a cell without symmetry."""
    atoms = bulk("Cu", cubic=True) * (2, 1, 1)
    rng = np.random.default_rng(seed)
    atoms.set_cell(atoms.cell @ (np.eye(3) + 0.03 * rng.standard_normal((3, 3))), scale_atoms=True)
    atoms.rattle(0.1, seed=seed)
    return atoms


def test_stresses_are_the_analytic_ones():
    systems = [strained(seed) for seed in range(3)]
    found = numerical_stress.stresses([wire(atoms) for atoms in systems], CONTEXT, MODEL, 0.002)
    for atoms, result in zip(systems, found, strict=True):
        atoms.calc = EMT()
        assert np.abs(atoms.get_stress()).min() > 1e-4, "every component counts"
        np.testing.assert_allclose(result["stress"], atoms.get_stress(), atol=2e-5)


def test_a_frame_without_a_volume_is_refused():
    atoms = strained(0)
    flat = {**wire(atoms), "cell": [[1, 0, 0], [2, 0, 0], [0, 0, 1]]}
    good, bad = numerical_stress.stresses([wire(atoms), flat], CONTEXT, MODEL, 0.002)
    assert "stress" in good
    assert bad["failure"] == "invalid-input"
