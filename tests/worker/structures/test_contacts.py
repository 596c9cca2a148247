"""The nearest pair of a frame against all distances by ASE."""

from __future__ import annotations

import time

import pytest

np = pytest.importorskip("numpy")
ase = pytest.importorskip("ase", reason="needs ase")

from psiflow_cli.worker.structures import contacts  # noqa: E402


def nearest(atoms):
    frame = {
        "symbols": list(atoms.symbols),
        "positions": atoms.positions.tolist(),
        "cell": atoms.cell.tolist() if atoms.cell.rank == 3 else None,
        "pbc": atoms.pbc.tolist(),
    }
    (found,) = contacts.nearest([frame], {})
    return found


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_the_pair_that_is_nearest_for_its_size(periodic, seed):
    from ase.data import covalent_radii

    draw = np.random.default_rng(seed)
    cell = np.diag([6.0, 7.0, 8.0]) + draw.normal(0, 0.5, (3, 3))
    atoms = ase.Atoms("OHHOHHCuCuAr2", scaled_positions=draw.random((10, 3)), cell=cell, pbc=periodic)
    distances = atoms.get_all_distances(mic=periodic)
    radii = covalent_radii[atoms.numbers]
    ratios = distances / (radii[:, None] + radii[None, :])
    np.fill_diagonal(ratios, np.inf)
    found, at = nearest(atoms), np.unravel_index(ratios.argmin(), ratios.shape)
    if ratios.min() >= contacts.WITHIN:
        assert found["distance"] is None
        assert found["ratio"] == contacts.WITHIN
    else:
        assert found["ratio"] == pytest.approx(ratios.min(), abs=1e-12)
        assert found["distance"] == pytest.approx(distances[at], abs=1e-12)
        assert all(f"{atoms.symbols[n]} (atom {n + 1})" in found["atoms"] for n in at)


def test_a_molecule_in_a_large_box_takes_no_longer():
    from ase.build import molecule

    start = time.process_time()
    for pbc in (False, (True, True, False), True):
        assert nearest(ase.Atoms(molecule("C6H6"), cell=[200.0] * 3, pbc=pbc))["distance"] is None
    assert time.process_time() - start < 2.0


def test_an_atom_too_near_to_its_own_image():
    found = nearest(ase.Atoms("Cu", cell=[1.0, 9.0, 9.0], pbc=True))
    assert found["distance"] == pytest.approx(1.0)
    assert found["atoms"] == "Cu (atom 1) and its image"
    assert nearest(ase.Atoms("Cu", cell=[1.0, 9.0, 9.0], pbc=False))["distance"] is None


def test_molecules_and_crystals_have_no_contacts():
    from ase.build import bulk, molecule

    good = [molecule(name) for name in ("H2", "H2O", "C6H6", "N2", "LiF", "CO2", "C2H2", "F2")]
    good += [bulk("Cu"), bulk("C", "diamond", 3.57), bulk("NaCl", "rocksalt", 5.6), bulk("W")]
    for atoms in good:
        assert nearest(atoms)["distance"] is None, atoms
