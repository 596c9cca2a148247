"""psiflow check on labels: not there, not numbers, under other names, by other methods; and isolated atoms."""

from __future__ import annotations

import pytest

from tests.stages.check.checked import PLACES, SYMBOLS, bonded, check, frame, only

CELL = ' Lattice="9 0 0 0 9 0 0 0 9"'
FORCES = ((0.0, 0.0, 1.0), (0.0, 0.0, -0.5), (0.0, 0.0, -0.5))
ATOMS = "".join(
    frame([(0.0, 0.0, 0.0)], None, energy, " config_type=IsolatedAtom", [element])
    for element, energy in (("H", -13.6), ("O", -432.0))
)
GOOD = bonded(12) + ATOMS


def test_good_data_have_no_findings(tmp_path):
    assert check(tmp_path, GOOD) == []


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "NaN"])
def test_a_label_that_is_no_number(tmp_path, number):
    bad = frame(energy=1.0, forces=FORCES).replace("energy=1.0", f"energy={number}")
    (found,) = only(check(tmp_path, GOOD + bad), "nan")
    assert (found.severity, found.count, found.frames) == ("error", 1, [15])
    assert "energy" in found.what
    worse = frame(energy=1.0, forces=FORCES).replace("-0.5", number)
    (found,) = only(check(tmp_path, worse + worse + GOOD), "nan")
    assert (found.severity, found.count, found.frames) == ("error", 2, [1, 2])
    assert "forces" in found.what


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        (frame(forces=FORCES).replace("energy=0.0", "energy=low"), "energy='low' is not a number"),
        (frame(forces=FORCES).replace("pos:R:3:forces:R:3", "pos:R:3:forces:R:2:x:R:1"), "forces:R:3"),
        (frame(forces=FORCES, pbc="T T T", more=f'{CELL} stress="1 2 3 4"'), "nine numbers"),
        (frame(forces=FORCES, pbc="T T T", more=f'{CELL} stress="1 2 3 4 5 6 7 8 9"'), "symmetric"),
    ],
)
def test_a_label_of_another_form(tmp_path, bad, what):
    (found,) = only(check(tmp_path, GOOD + bad), "label")
    assert found.severity == "error"
    assert what in found.what


def test_labels_on_some_frames_only(tmp_path):
    found = only(check(tmp_path, GOOD + frame(forces=FORCES, energy=None) + frame(energy=1.0)), "keys")
    assert [(f.severity, f.count, f.frames) for f in found] == [("error", 1, [15]), ("error", 1, [16])]
    assert [f.what.split(",")[0] for f in found] == ["no energy", "no forces"]


def test_no_labels_at_all(tmp_path):
    found = only(check(tmp_path, frame(energy=None)), "keys")
    assert [(f.severity, f.what) for f in found] == [
        ("warning", "no frame has an energy"), ("warning", "no frame has forces"),
    ]  # fmt: skip


def test_a_stress_on_some_periodic_frames_is_a_warning_and_molecules_need_none(tmp_path):
    cell = ' Lattice="9 0 0 0 9 0 0 0 9"'
    stressed = bonded(6, seed=1, more=cell + ' stress="0.1 0 0 0 0.1 0 0 0 0.1"', pbc="T T T")
    assert not check(tmp_path, GOOD + stressed)
    (found,) = check(tmp_path, GOOD + stressed + bonded(2, seed=2, more=cell, pbc="T T T"))
    assert (found.severity, found.check, found.count, found.frames) == ("warning", "keys", 2, [21, 22])


def test_other_keys_on_some_frames_only(tmp_path):
    (found,) = check(tmp_path, GOOD + bonded(3, seed=1, more=" charge=1 config_type=ion"))
    assert (found.severity, found.check, found.count) == ("warning", "keys", 12)
    assert "charge (3 of 15)" in found.what
    assert "config_type" not in found.what


def test_two_candidates_in_one_frame(tmp_path):
    both = bonded(3, more=" REF_energy=-1.0")
    found = only(check(tmp_path, both + ATOMS), "spelling")
    assert [(f.severity, f.count) for f in found] == [("error", 3)]
    assert "energy and REF_energy could both be the energy" in found[0].what
    assert not only(check(tmp_path, both + ATOMS.replace("energy", "REF_energy"), {"energy": "REF_energy"}), "spelling")


def test_two_spellings_in_one_file(tmp_path):
    other = bonded(3, seed=1, names=("REF_energy", "REF_forces"))
    found = only(check(tmp_path, GOOD + other), "spelling")
    assert [(f.severity, f.count) for f in found] == [("warning", 3), ("warning", 3)]
    assert not only(check(tmp_path, other), "spelling")


def test_keys_that_the_user_names(tmp_path):
    named = {"energy": "MY_energy", "forces": "MY_forces"}
    text = bonded(5, names=("MY_energy", "MY_forces")) + ATOMS.replace("energy", "MY_energy")
    assert check(tmp_path, text, named) == []
    found = check(tmp_path, text + bonded(2, seed=1) + ATOMS, named)
    assert [(f.severity, f.check, f.count, f.frames) for f in found if f.severity == "error"] == [
        ("error", "keys", 4, [8, 9, 10]), ("error", "keys", 2, [8, 9]),
    ]  # fmt: skip
    assert "no key 'MY_energy' for the energy" in found[0].what


def test_several_references(tmp_path):
    one, two = " psiflow_reference=aaaa psiflow_code=CP2K_2023.1", " psiflow_reference=bbbb psiflow_code=xtb"
    (found,) = check(tmp_path, bonded(5, more=one) + bonded(2, seed=1, more=two) + ATOMS)
    assert (found.severity, found.check, found.count, found.frames) == ("error", "mixed-references", 2, [6, 7])
    assert "bbbb" in found.what
    assert "aaaa" in found.what
    newer = one.replace("2023.1", "2024.1")
    assert check(tmp_path, bonded(5, more=one) + bonded(2, seed=1, more=newer) + ATOMS) == []


def test_isolated_atoms_that_are_missing_or_contradict(tmp_path):
    (found,) = check(tmp_path, bonded(12))
    assert (found.severity, found.check, found.what) == ("warning", "isolated-atoms", "no isolated atom of H, O")
    (found,) = only(check(tmp_path, GOOD + ATOMS.replace("-13.6", "-13.1")), "isolated-atoms")
    assert (found.severity, found.count, found.frames) == ("error", 1, [15])
    assert "-13.1" in found.what
    assert [f.what for f in check(tmp_path, GOOD + ATOMS.replace(" energy=-13.6", ""))] == [
        "isolated atoms without an energy", "same structure as {}:61: frame 13".format(tmp_path / "data.xyz"),
    ]  # fmt: skip


def test_copies_with_equal_and_with_other_labels(tmp_path):
    text = bonded(12)
    lines = text.split("3\nProp")[1:]
    first, third = (f"3\nProp{lines[n]}" for n in (0, 2))
    (found,) = only(check(tmp_path, GOOD + first + third + first), "duplicate")
    assert (found.severity, found.count, found.frames) == ("warning", 3, [15, 16, 17])
    assert found.what.startswith("same structure as")
    assert found.what.endswith("frame 1")
    other = third.replace("energy=-", "energy=-1")
    found = only(check(tmp_path, GOOD + first + other), "duplicate")
    assert [(f.severity, f.count, f.frames) for f in found] == [("error", 1, [16]), ("warning", 1, [15])]
    assert "frame 3, with different labels" in found[0].what
    pushed = frame(PLACES, FORCES, 1.0) + frame(PLACES, [FORCES[n] for n in (1, 0, 2)], 1.0)
    (found,) = only(check(tmp_path, GOOD + pushed), "duplicate")
    assert found.severity == "error"
    reordered = frame(PLACES, FORCES, 1.0) + frame(PLACES[::-1], FORCES[::-1], 1.0, symbols=SYMBOLS[::-1])
    (found,) = only(check(tmp_path, GOOD + reordered), "duplicate")
    assert found.severity == "warning"
    rounded = frame(PLACES, FORCES, 1.0) + frame(PLACES, [[x + 1e-5 for x in row] for row in FORCES], 1.000001)
    (found,) = only(check(tmp_path, GOOD + rounded), "duplicate")
    assert found.severity == "warning"
