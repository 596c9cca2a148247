"""One structure stays one however it is written; another one never becomes it."""

from __future__ import annotations

import itertools

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell, molecule

from psiflow_cli import extxyz
from psiflow_cli.extxyz.structure import TOLERANCE, place

SHAPES = {
    "cubic": np.eye(3),
    "orthorhombic": np.diag([1.0, 1.2, 0.8]),
    "hexagonal": np.array([[1, 0, 0], [-0.5, 3**0.5 / 2, 0], [0, 0, 1.633]]),
    "fcc": np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2**0.5,
    "bcc": np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]) / 3**0.5,
    "triclinic": np.array([[1.0, 0.1, -0.2], [0.3, 1.1, 0.2], [-0.4, 0.3, 0.9]]),
}
SIZES = (1, 2, 5, 24, 192)


def frame_of(atoms, folder, digits=17, **info):
    """The frame as psiflow reads it, with so many digits after the point of each coordinate."""
    positions = atoms.positions.round(digits) if digits < 17 else atoms.positions
    cell = atoms.cell.tolist() if atoms.cell.any() else None
    path = folder / "frame.xyz"
    text = extxyz.new_frame(list(atoms.symbols), positions.tolist(), cell, atoms.pbc.tolist(), info, {})
    path.write_text(text)
    return next(extxyz.read(path))


@pytest.fixture
def where(tmp_path):
    return lambda atoms, digits=17, **options: place(frame_of(atoms, tmp_path, digits), (), **options)


def apart(one, two):
    """The largest difference in units of the tolerance."""
    return max(abs(a - b) for a, b in zip(one, two, strict=True)) / TOLERANCE


def random(rng, count, shape=None, pbc=(True, True, True)):
    """Atoms anywhere in and around a cell, or in a molecule."""
    length = max(2.5, (10 * count) ** (1 / 3))
    cell = SHAPES["cubic" if shape is None else shape] * length
    positions = (rng.random((count, 3)) * 2 - 0.5) @ cell
    symbols = rng.choice(["H", "O", "Cu"], count)
    return Atoms(symbols, positions, **({} if shape is None else {"cell": cell, "pbc": pbc}))


def other_vectors(rng):
    """A matrix of whole numbers and determinant 1 or -1."""
    matrix = np.eye(3, dtype=int)
    for _ in range(4):
        one, two = rng.choice(3, 2, replace=False)
        step = np.eye(3, dtype=int)
        step[one, two] = rng.integers(-2, 3)
        matrix = step @ matrix
    return matrix[rng.permutation(3)] * rng.choice([-1, 1], 3)[:, None]


@pytest.mark.parametrize("shape", [*SHAPES, None])
def test_what_rewriting_changes_does_not_count(where, shape):
    rng = np.random.default_rng(1)
    for count in SIZES:
        atoms = random(rng, count, shape)
        here = where(atoms)
        assert apart(here, where(atoms, 8)) < 0.5
        shuffled = atoms[rng.permutation(count)]
        assert apart(here, where(shuffled, 8)) < 0.5
        if shape is None:
            continue
        wrapped = atoms.copy()
        wrapped.wrap()
        assert apart(here, where(wrapped, 8)) < 0.5
        moved = atoms.copy()
        moved.positions += rng.integers(-5, 6, (count, 3)) @ moved.cell
        assert apart(here, where(moved, 8)) < 0.5
        for _ in range(3):
            rewritten = moved[rng.permutation(count)]
            rewritten.set_cell((other_vectors(rng) @ moved.cell).round(12))
            rewritten.wrap()
            assert apart(here, where(rewritten, 8)) < 0.5


@pytest.mark.parametrize("pbc", [p for p in itertools.product([True, False], repeat=3) if not all(p)])
def test_only_periodic_directions_wrap(where, pbc):
    rng = np.random.default_rng(2)
    atoms = random(rng, 12, "triclinic", pbc)
    here = where(atoms)
    for axis in range(3):
        moved = atoms.copy()
        moved.positions[3] += moved.cell[axis]
        assert (apart(here, where(moved)) < 1e-3) == pbc[axis]
        assert apart(here, where(moved, 8)) < 0.5 or not pbc[axis]
    along = [axis for axis in range(3) if pbc[axis]]
    if len(along) == 2:
        cell = atoms.cell.array.copy()
        cell[along] = [cell[along[1]] - cell[along[0]], -cell[along[0]]]
        rewritten = atoms.copy()
        rewritten.set_cell(cell)
        assert apart(here, where(rewritten, 8)) < 0.5


@pytest.mark.parametrize("shape", [*SHAPES, None])
def test_another_structure_is_another(where, shape):
    rng = np.random.default_rng(3)
    for count in SIZES:
        atoms = random(rng, count, shape)
        here = where(atoms)
        moved = atoms.copy()
        moved.positions[rng.integers(count), rng.integers(3)] += 1e-4
        assert apart(here, where(moved)) > 2
        moved.positions += rng.normal(0, 1e-4, (count, 3))  # less than 0.1 fs of molecular dynamics
        assert apart(here, where(moved)) > 2
        if shape is not None:
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ (np.eye(3) + rng.normal(0, 1e-4, (3, 3))), scale_atoms=True)
            assert apart(here, where(strained)) > 2
        renamed = atoms.copy()
        renamed.symbols[-1] = "N"
        assert apart(here, where(renamed)) > 1e6


def test_steps_of_dynamics_and_of_a_relaxation_are_all_others(where):
    """Steps of 0.1 fs at 300 K, and steps towards a minimum that halve the distance down to 3e-6 Å."""
    rng = np.random.default_rng(4)
    atoms = random(rng, 24, "cubic")
    velocities = rng.normal(0, 0.003, (24, 3))  # Å/fs, of copper, a heavy atom
    steps = []
    for step in range(100):
        moved = atoms.copy()
        moved.positions += 0.1 * step * velocities
        steps.append(where(moved))
    for halvings in range(16):
        moved = atoms.copy()
        moved.positions += rng.normal(0, 0.1, (24, 3)) / 2**halvings
        steps.append(where(moved))
    assert min(apart(one, two) for one, two in itertools.combinations(steps, 2)) > 2


def test_displacements_of_a_perfect_crystal_are_told_apart(where):
    """Each atom by 0.01 Å along each axis and back, and the waves that fit into the cell: symmetry hides none."""
    perfect = bulk("Cu", cubic=True) * (2, 2, 2)
    places = [where(perfect)]
    for atom, axis, sign in itertools.product(range(len(perfect)), range(3), (-0.01, 0.01)):
        moved = perfect.copy()
        moved.positions[atom, axis] += sign
        places.append(where(moved))
    for wave in itertools.product(range(2), repeat=3):
        turns = np.cos(2 * np.pi * perfect.get_scaled_positions() @ np.array(wave))
        for axis, size in itertools.product(range(3), (0.01, 0.02)):
            moved = perfect.copy()
            moved.positions[:, axis] += size * turns
            places.append(where(moved))
    assert min(apart(one, two) for one, two in itertools.combinations(places, 2)) > 5


@pytest.mark.parametrize("name", ["N2", "H2O", "CH4", "C6H6"])
def test_a_bond_that_is_stretched_is_another_structure(where, name):
    atoms = molecule(name)
    places = []
    for step in range(20):
        stretched = atoms.copy()
        stretched.positions *= 1 + step * 1e-4
        places.append(where(stretched))
    assert min(apart(one, two) for one, two in itertools.combinations(places, 2)) > 5


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.xyz", {"format": "extxyz"}),
        ("a.traj", {}),
        ("POSCAR", {"direct": True}),
        ("POSCAR", {"direct": False, "sort": True}),
        ("a.json", {}),
        ("a.xsf", {}),
    ],
)
def test_through_files_of_ase(where, tmp_path, name, options):
    rng = np.random.default_rng(5)
    for shape in SHAPES:
        atoms = random(rng, 24, shape)
        ase.io.write(tmp_path / name, atoms, **options)
        assert apart(where(atoms), where(ase.io.read(tmp_path / name))) < 0.5
        twin = make_supercell(atoms, [[1, 1, 0], [0, 1, 0], [0, 0, 1]])
        assert apart(where(atoms), where(twin)) < 0.5


def test_the_order_of_atoms_counts_only_if_asked(where):
    rng = np.random.default_rng(6)
    atoms = random(rng, 24, "triclinic")
    swapped = atoms[[1, 0, *range(2, 24)]]
    swapped.symbols[:2] = atoms.symbols[:2] = "O"
    assert apart(where(atoms), where(swapped)) < 1e-3
    assert apart(where(atoms, ordered=True), where(swapped, ordered=True)) > 1e3
    assert apart(where(atoms, ordered=True), where(atoms, 8, ordered=True)) < 0.5


def test_charge_multiplicity_and_moments_count_if_asked(tmp_path):
    water = molecule("H2O")
    plain, charged = frame_of(water, tmp_path), frame_of(water, tmp_path, charge=1, multiplicity=2)
    assert place(plain, ()) == place(charged, ())
    assert apart(place(plain, ("charge", "multiplicity")), place(charged, ("charge", "multiplicity"))) > 1e6
    water.set_initial_magnetic_moments([1.0, 0.0, -1.0])
    ase.io.write(tmp_path / "magnetic.xyz", water)
    magnetic = next(extxyz.read(tmp_path / "magnetic.xyz"))
    assert apart(place(plain, ()), place(magnetic, ())) < 1.0
    assert apart(place(plain, ("moments",)), place(magnetic, ("moments",))) > 1e6


def test_a_cell_that_is_no_lattice_does_not_take_forever(where):
    """Vectors that other programs have sheared a thousand times over."""
    atoms = Atoms("Cu2", [[0, 0, 0], [1.3, 1.1, 0.7]], cell=np.eye(3) * 4, pbc=True)
    sheared = atoms.copy()
    sheared.set_cell(np.array([[1, 0, 0], [3000, 1, 0], [-30, 700, 1]]) @ atoms.cell.array)
    assert apart(where(atoms), where(sheared)) < 0.5


@pytest.mark.timeout(20)
@pytest.mark.parametrize("lengths", [(1e8, 1e-9, 5), (5, 1e8, 1e-9), (1e-9, 5, 1e8)])
def test_lengths_that_differ_by_more_digits_than_a_number_has(where, lengths):
    """Rounding must not undo each step of the reduction for ever."""
    atoms = Atoms("H", cell=np.diag(lengths), pbc=True)
    assert where(atoms) == where(atoms)


def test_numbers_that_no_structure_has_are_no_bug(where):
    """They end in one place all the same, and apart from others."""
    far = Atoms("H2", [[0, 0, 0], [1e308, 1e308, -1e308]])
    large = Atoms("H", cell=np.eye(3) * 1e8, pbc=True)
    small = Atoms("H", cell=np.eye(3) * 1e-90, pbc=True)
    for atoms in (far, large, small):
        assert where(atoms) == where(atoms)
    assert apart(where(far), where(Atoms("H2", [[0, 0, 0], [1e308, 1e308, 0]]))) > 1e3


def test_the_lattices_of_usual_crystals_are_reduced_without_doubt(where):
    """Vectors that are almost of equal length, which rounding could exchange, are so for no usual cell."""
    rng = np.random.default_rng(7)
    for shape in SHAPES:
        atoms = random(rng, 3, shape)
        here = where(atoms)
        for _ in range(20):
            noisy = atoms.copy()
            noisy.set_cell(other_vectors(rng) @ (atoms.cell.array + rng.normal(0, 1e-8, (3, 3))))
            assert apart(here, where(noisy)) < 2
