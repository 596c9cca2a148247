"""Stress and virial by one rule: names, sign, unit, candidates, and frames that have none."""

from __future__ import annotations

from pathlib import Path

import pytest

from psiflow_cli import extxyz
from psiflow_cli.errors import BadData
from psiflow_cli.extxyz.labelling import near_names

CELL = 'Lattice="4 0 0 0 5 0 0 0 6"'  # 120 Å³
VIRIAL = "virial='-120 -720 -600 -720 -240 -480 -600 -480 -360'"
STRESS = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


def frame_of(tmp_path: Path, comment: str = "", columns: str = "", atoms: str = "O 0 0 0.25\nH 0 0.75 -0.5\n"):
    path = tmp_path / "data.xyz"
    path.write_text(f"{atoms.count(chr(10))}\n{comment} Properties=species:S:1:pos:R:3{columns}\n{atoms}")
    (frame,) = extxyz.read(path, "data.xyz")
    return frame


def stress_of(tmp_path, comment, keys=None, **more):
    return extxyz.label(frame_of(tmp_path, comment, **more), "stress", keys)


@pytest.mark.parametrize("prefix", ["", "REF_", "dft_"])
@pytest.mark.parametrize("plural", ["", "s"])
def test_a_virial_is_minus_the_stress_times_the_volume(tmp_path, prefix, plural):
    name = f"{prefix}virial{plural}"
    frame = frame_of(tmp_path, f"{CELL} {VIRIAL.replace('virial', name)}")
    assert extxyz.label(frame, "stress") == pytest.approx(STRESS)
    assert extxyz.label_names(frame) == (name,)
    six = f'{CELL} {name}="-120 -240 -360 -480 -600 -720"'
    assert stress_of(tmp_path, six) == pytest.approx(STRESS)


def test_sign_and_unit_against_finite_differences(tmp_path):
    """ASE's own EMT: its stress, the virial that MACE and GAP files have of it, and the energy of strained cells."""
    pytest.importorskip("ase")
    import ase.io
    import numpy as np
    from ase.build import bulk
    from ase.calculators.emt import EMT

    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=1)
    strain = np.array([[0.03, 0.01, 0], [0.01, -0.02, 0], [0, 0, 0.01]])
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    atoms.calc = EMT()

    def energy(i, j, strain):
        strained = atoms.copy()
        change = np.eye(3)
        change[i, j] += strain / 2
        change[j, i] += strain / 2
        strained.set_cell(atoms.cell.array @ change, scale_atoms=True)
        strained.calc = EMT()
        return strained.get_potential_energy()

    pairs = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]
    differences = [(energy(i, j, 1e-4) - energy(i, j, -1e-4)) / 2e-4 / atoms.get_volume() for i, j in pairs]
    atoms.info["REF_virials"] = -atoms.get_stress(voigt=False) * atoms.get_volume()
    atoms.calc = None
    ase.io.write(tmp_path / "emt.xyz", atoms, format="extxyz")
    (frame,) = extxyz.read(tmp_path / "emt.xyz")
    assert extxyz.label(frame, "stress") == pytest.approx(differences, abs=1e-6)


def test_virials_of_the_atoms_are_added_up(tmp_path):
    atoms = f"O 0 0 0.25 {'1 ' * 9}\nH 0 0.75 -0.5 {'-4 ' * 9}\n"
    assert stress_of(tmp_path, CELL, columns=":virials:R:9", atoms=atoms) == pytest.approx([3 / 120] * 6)
    with pytest.raises(BadData, match="the column virial is not virial:R:9"):
        stress_of(tmp_path, CELL, columns=":virial:R:2", atoms="O 0 0 0.25 1 2\n")


def test_stress_and_virial_in_one_frame(tmp_path):
    assert stress_of(tmp_path, f'{CELL} stress="1 2 3 4 5 6.0001" {VIRIAL}') == [1, 2, 3, 4, 5, 6.0001]
    with pytest.raises(BadData, match="stress and virial could both be the stress, but differ") as error:
        stress_of(tmp_path, f'{CELL} stress="-1 -2 -3 -4 -5 -6" {VIRIAL}')
    assert error.value.hint == "choose one: --keys virial=virial"
    other = f'{CELL} stress="-1 -2 -3 -4 -5 -6" {VIRIAL}'
    assert stress_of(tmp_path, other, extxyz.parse_keys("virials=virial")) == pytest.approx(STRESS)
    assert stress_of(tmp_path, other, {"stress": "stress"}) == [-x for x in STRESS]


def test_a_name_of_the_users_own(tmp_path):
    comment = f"{CELL} {VIRIAL.replace('virial', 'W')} {VIRIAL.replace('virial', 'my_Virial')}"
    assert stress_of(tmp_path, comment) is None
    assert stress_of(tmp_path, comment, {"virial": "W"}) == pytest.approx(STRESS)
    assert stress_of(tmp_path, comment, {"stress": "W"}) == pytest.approx([-120 * x for x in STRESS])
    assert stress_of(tmp_path, comment, {"stress": "my_Virial"}) == pytest.approx(STRESS), "its name says what it is"
    with pytest.raises(BadData, match="no key 'U' for the stress"):
        stress_of(tmp_path, comment, {"virial": "U"})


@pytest.mark.parametrize("cell", ["", f'{CELL} pbc="T T F"', f'{CELL} pbc="F F F"'])
def test_a_frame_that_is_not_periodic_everywhere_has_no_stress(tmp_path, cell):
    with pytest.raises(BadData, match="REF_stress is not nine numbers"):
        stress_of(tmp_path, f"{cell} REF_stress=nonsense")
    for words in (VIRIAL, 'stress="1 2 3 4 5 6" REF_stress="2 2 2 2 2 2"', 'REF_stress="nan 0 0 0 nan 0 0 0 1"'):
        frame = frame_of(tmp_path, f"{cell} {words}")
        assert extxyz.label(frame, "stress") is None
        assert extxyz.unused_stress(frame)
    assert stress_of(tmp_path, cell, {"stress": "s"}) is None
    assert not extxyz.unused_stress(frame_of(tmp_path, cell))
    assert not extxyz.unused_stress(frame_of(tmp_path, f"{cell} {VIRIAL}", atoms="H 0 0 0\n")) or "T" in cell


def test_two_equal_candidates_are_one(tmp_path):
    frame = frame_of(tmp_path, "energy=-468.123456789 REF_energy=-468.12345679")
    assert extxyz.label(frame, "energy") == -468.123456789
    twice = ":forces:R:3:REF_forces:R:3", "O 0 0 0.25 1 2 3 1 2 3.00000001\n"
    assert extxyz.label(frame_of(tmp_path, "", *twice), "forces") == [[1, 2, 3]]
    with pytest.raises(BadData, match="energy and REF_energy"):
        extxyz.label(frame_of(tmp_path, "energy=-468.1234 REF_energy=-468.1235"), "energy")


@pytest.mark.parametrize(
    ("names", "option"),
    [
        (("DFT_energy", "dft_force"), "--keys energy=DFT_energy,forces=dft_force"),
        (("Energy", "Forces"), "--keys energy=Energy,forces=Forces"),
        (("potential_energy", "forces_dft"), "--keys energy=potential_energy,forces=forces_dft"),
        (("E", "F"), "--keys energy=E,forces=F"),
        (("energy", "force"), "--keys forces=force"),
        (("E_tot", "FORCES"), "--keys energy=E_tot,forces=FORCES"),
        (("temperature", "dipoles"), "label it first"),
        (("formation_energy", "forces_std"), "label it first"),
    ],
)
def test_near_names_are_named_with_the_option_that_reads_them(tmp_path, names, option):
    frame = frame_of(tmp_path, f"{names[0]}=-1.5 i_fermi=3.2", f":{names[1]}:R:3", "O 0 0 0.25 1 2 3\n")
    assert option in near_names.hint(frame)


def test_a_gradient_is_not_taken_for_the_forces(tmp_path):
    gradient = frame_of(tmp_path, "energy=-1", ":gradient:R:3", "O 0 0 0.25 1 2 3\n")
    assert (
        near_names.hint(gradient)
        == "gradient looks like a gradient: write the forces, which are minus the gradient, as forces"
    )
    three = frame_of(tmp_path, "energy=-1", ":fx:R:1:fy:R:1:fz:R:1", "O 0 0 0.25 1 2 3\n")
    assert near_names.hint(three) == "make one column of fx, fy, fz: Properties=…:forces:R:3"


def test_what_looks_like_a_label_does_not_go_with_a_structure_that_was_moved(tmp_path):
    comment = f"{CELL} DFT_energy=-1 kinetic_energy=2 my_stress='1 0 0 0 1 0 0 0 1' name=water energy_cutoff=400"
    frame = frame_of(tmp_path, comment, ":Force:R:3:momenta:R:3", "O 0 0 0.25 1 2 3 4 5 6\n")
    assert near_names.alike(frame) == ["DFT_energy", "Force", "my_stress"]


def test_a_stress_that_nobody_reads(tmp_path):
    frame = frame_of(tmp_path, f"{CELL} energy=-1 {VIRIAL.replace('virial', 'my_virial')}")
    said = near_names.unread_stress(frame, {"energy": "energy"})
    assert (
        said == "my_virial looks like a stress, but is not read: use --keys energy=energy,virial=my_virial to read it"
    )
    assert near_names.unread_stress(frame_of(tmp_path, f"{CELL} energy=-1 {VIRIAL}")) == ""


@pytest.mark.parametrize("kind", ["IsolatedAtom", "isolated_atom", "isolatedatom", "Isolated", "single_atom"])
def test_spellings_of_an_isolated_atom(tmp_path, kind):
    from psiflow_cli.extxyz.frame import is_isolated_atom

    assert is_isolated_atom(frame_of(tmp_path, f"{CELL} config_type={kind}", atoms="H 0 0 0\n"))
    assert not is_isolated_atom(frame_of(tmp_path, f"{CELL} config_type=crystal", atoms="H 0 0 0\n"))
