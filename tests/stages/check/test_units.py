"""psiflow check knows energies in Hartree, forces in Ha/bohr and forces of the wrong sign, in real and in made data."""

from __future__ import annotations

import random

import pytest

from psiflow_cli import extxyz
from psiflow_cli.elements import SYMBOLS
from psiflow_cli.stages.check.units.sizes import all_electrons
from tests.stages.check.checked import bonded, check, frame, only

HARTREE, HARTREE_BOHR = 27.211386, 51.422067
RYDBERG, RYDBERG_BOHR = HARTREE / 2, HARTREE_BOHR / 2
KCAL_MOL, KJ_MOL = 0.0433641, 0.0103643
FILES = {"3bpa-train-300K.xyz": 80, "water-192-dft.xyz": 25}


def converted(path, count, energy, force, shuffled=False, reference=0.0):
    """The first frames of a file, or every fifth one, with labels in other units.

    `reference` times the energy of the first frame is subtracted.
    """
    texts, zero = [], 0.0
    for number, each in enumerate(extxyz.read(path)):
        if len(texts) == count:
            break
        if shuffled and number % 5:
            continue
        labels = extxyz.labels(each)
        zero = zero or reference * labels["energy"]
        forces = [[x / force for x in row] for row in labels["forces"]]
        texts.append(
            extxyz.render(
                each, set_info={"energy": (labels["energy"] - zero) / energy}, set_columns={"forces": ("R", forces)}
            )
        )
    return "".join(texts)


@pytest.fixture(scope="module", params=FILES)
def real(request, shared_data):
    path = shared_data / request.param
    if not path.is_file():
        pytest.skip(f"no {request.param}")
    return path, FILES[request.param]


@pytest.mark.parametrize("shuffled", [False, True])
def test_real_data_as_they_are_have_the_right_units(real, tmp_path, shuffled):
    found = check(tmp_path, converted(*real, 1.0, 1.0, shuffled))
    assert not only(found, "units")
    assert not only(found, "forces-sign")


@pytest.mark.parametrize(
    ("energy", "force", "what"),
    [
        (HARTREE, 1.0, "energies look like Hartree"),
        (1.0, HARTREE_BOHR, "forces look like Ha/bohr"),
        (HARTREE, HARTREE_BOHR, "forces"),
    ],
)
def test_real_data_in_other_units_are_recognised(real, tmp_path, energy, force, what):
    (found,) = only(check(tmp_path, converted(*real, energy, force)), "units")
    assert what in found.what
    assert "Ha/bohr" in found.what or force == 1.0
    assert found.frames == [1]


CODES = {
    "Ry/bohr": (RYDBERG, RYDBERG_BOHR),
    "Ha/bohr": (HARTREE, HARTREE_BOHR),
    "kcal/mol/Å": (KCAL_MOL, KCAL_MOL),
    "kJ/mol/nm": (KJ_MOL, KJ_MOL / 10),
    "meV/Å": (1e-3, 1e-3),
}


@pytest.mark.parametrize("unit", CODES)
@pytest.mark.parametrize("reference", [0.0, 1.0])
def test_a_few_frames_in_the_units_of_one_code_are_recognised(real, tmp_path, unit, reference):
    """Also with energies relative to the first frame, whose size says nothing."""
    energy, force = CODES[unit]
    (found,) = only(check(tmp_path, converted(real[0], 6, energy, force, reference=reference)), "units")
    assert found.severity == "error"
    assert reference == 0.0 or ("forces look like" in found.what and unit in found.what)


def test_a_few_frames_as_they_are_have_the_right_units(real, tmp_path):
    assert not only(check(tmp_path, converted(real[0], 6, 1.0, 1.0)), "units")


@pytest.mark.parametrize("amplitude", [0.03, 0.1, 0.2])
@pytest.mark.parametrize("name", ["H2O", "CH4", "CH3CH2OH"])
def test_a_crude_potential_and_large_displacements_are_no_other_units(tmp_path, name, amplitude):
    from ase.build import molecule
    from ase.calculators.emt import EMT

    texts = []
    for seed in range(15):
        atoms = molecule(name)
        atoms.rattle(amplitude, seed=seed)
        atoms.calc = EMT()
        forces = atoms.get_forces().tolist()
        texts.append(frame(atoms.positions.tolist(), forces, float(atoms.get_potential_energy()), "", atoms.symbols))
    assert not only(check(tmp_path, "".join(texts)), "units")


@pytest.mark.parametrize(("energy", "unit"), [(-17.22, "Hartree"), (-34.44, "Rydberg"), (-468.6, ""), (-14.2, "")])
def test_energies_with_pseudopotentials_tell_their_unit(tmp_path, energy, unit):
    """Of water by CP2K in Ha, by Quantum ESPRESSO in Ry, in eV, and relative to atoms as VASP has it."""
    found = only(check(tmp_path, frame(energy=energy)), "units")
    assert len(found) == bool(unit)
    assert all(f"look like {unit}" in each.what and each.severity == "warning" for each in found)


def test_the_wrong_sign_of_forces_is_an_error(real, tmp_path):
    (found,) = only(check(tmp_path, converted(*real, 1.0, -1.0)), "forces-sign")
    assert found.severity == "error"


@pytest.mark.parametrize(
    ("energy", "force", "what"),
    [
        (1.0, 1.0, ""),
        (1 / HARTREE, 1.0, "energies look like Hartree beside forces in eV/Å"),
        (1.0, 1 / HARTREE_BOHR, "forces look like Ha/bohr beside energies in eV"),
        (1 / HARTREE, 1 / HARTREE_BOHR, "forces look like Ha/bohr"),
    ],
)
def test_springs(tmp_path, energy, force, what):
    found = only(check(tmp_path, bonded(30, energy, force)), "units")
    assert len(found) == bool(what)
    assert all(what in each.what for each in found)


@pytest.mark.parametrize("strain", [0.0, 0.01])
@pytest.mark.parametrize(("element", "force", "there"), [("Cu", 1.0, False), ("Cu", 0.0194, True), ("Ar", 0.05, False)])
def test_crystals_and_noble_gases(tmp_path, element, force, there, strain):
    """Atoms on springs of 3 eV/Å², in other units, or as soft as in a noble gas; in one cell, or in many."""
    draw, texts = random.Random(0), []
    for _ in range(20):
        away = [[draw.gauss(0, 0.05) for _ in range(3)] for _ in range(4)]
        a = 3.6 * (1 + draw.gauss(0, strain))
        moved = [[a * n + row[0], *row[1:]] for n, row in enumerate(away)]
        energy = 1.5 * sum(x * x for row in away for x in row)
        forces = [[-3 * force * x for x in row] for row in away]
        cell = f' Lattice="{4 * a!r} 0 0 0 9 0 0 0 9"'
        texts.append(frame(moved, forces, force * energy, cell, [element] * 4, "T T T"))
    assert bool(only(check(tmp_path, "".join(texts)), "units")) == there


def test_each_file_has_its_own_units(tmp_path):
    texts = {"right.xyz": bonded(30), "wrong.xyz": bonded(30, energy=1 / HARTREE, seed=1)}
    (found,) = only(check(tmp_path, texts), "units")
    assert found.severity == "error"
    assert "Hartree" in found.what


def test_one_frame_or_frames_that_are_not_alike_say_nothing(tmp_path):
    far = "".join(
        frame([(0.0, 0.0, 0.0), (x, 0.0, 0.0), (-x, x * x, 0.0)], [[x, 1.0, 0.0], [-x, 0.0, 0.0], [0.0, -1.0, 0.0]], x)
        for x in (1.0, 4.0, 9.0, 14.0, 19.0, 24.0, 31.0)
    )
    assert not only(check(tmp_path, far), "units")
    assert not only(check(tmp_path, bonded(1)), "units")


@pytest.mark.parametrize(("energy", "there"), [(-0.4996, True), (-13.6, False), (-3.2, False)])
def test_the_hydrogen_atom_tells_hartree(tmp_path, energy, there):
    text = frame([(0.0, 0.0, 0.0)], None, energy, " config_type=IsolatedAtom", ["H"])
    assert bool(only(check(tmp_path, text), "units")) == there


def test_energies_with_all_electrons_in_hartree(tmp_path):
    methane = ["C", "H", "H", "H", "H"]
    places = [(float(n), 0.0, 0.0) for n in range(5)]
    for energy, there in ((-40.5, True), (-40.5 * HARTREE, False), (-219.0, False)):
        text = frame(places, None, energy, "", methane)
        assert bool(only(check(tmp_path, text), "units")) == there


@pytest.mark.parametrize(
    # non-relativistic Hartree-Fock energies of atoms, Clementi and Roetti 1974, in Hartree
    ("symbol", "energy"),
    [("C", 37.6886), ("O", 74.8094), ("Ne", 128.5471), ("Si", 288.8544), ("Fe", 1262.4437), ("Kr", 2752.0550)],
)
def test_the_energy_of_all_electrons(symbol, energy):
    assert symbol in SYMBOLS
    assert all_electrons(symbol) == pytest.approx(energy, rel=0.015)
