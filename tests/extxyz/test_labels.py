"""Which keys are labels, what shape they must have, and which structures have the same name."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psiflow_cli import extxyz, voigt
from psiflow_cli.errors import BadData, UsageError
from psiflow_cli.extxyz.identity import _digits

CELL = 'Lattice="5.0 0.0 0.0 0.5 6.0 0.0 0.0 0.0 7.0"'


def frame_of(
    tmp_path: Path, comment: str = "", columns: str = "", atoms: str = "O 0 0 0.25\nH 0 0.75 -0.5\n"
) -> extxyz.Frame:
    path = tmp_path / "data.xyz"
    path.write_text(f"{atoms.count(chr(10))}\n{comment} Properties=species:S:1:pos:R:3{columns}\n{atoms}")
    (frame,) = extxyz.read(path, "data.xyz")
    return frame


FORCES = "O 0 0 0.25 1 2 3\nH 0 0.75 -0.5 4 5 6\n"
NINE = '"1.0 6.0 5.0 6.0 2.0 4.0 5.0 4.0 3.0"'


@pytest.mark.parametrize("prefix", ["", "REF_", "dft_"])
def test_labels_under_their_usual_names(tmp_path: Path, prefix: str) -> None:
    frame = frame_of(tmp_path, f"{prefix}energy=-1 {prefix}stress={NINE} {CELL}", f":{prefix}forces:R:3", FORCES)
    label = extxyz.labels(frame)
    assert label == {"energy": -1.0, "forces": [[1, 2, 3], [4, 5, 6]], "stress": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]}
    assert type(label["energy"]) is float
    assert extxyz.label_names(frame) == (f"{prefix}energy", f"{prefix}forces", f"{prefix}stress")


def test_no_labels(tmp_path: Path) -> None:
    frame = frame_of(tmp_path, "energies=1 energy")
    assert extxyz.labels(frame) == {"energy": None, "forces": None, "stress": None}


@pytest.mark.parametrize(
    "stress", [NINE, "[[1, 6, 5], [6, 2, 4], [5, 4, 3]]", '"_JSON [[1, 6, 5], [6, 2, 4], [5, 4, 3]]"', '"1 2 3 4 5 6"']
)
def test_spellings_of_a_stress(tmp_path: Path, stress: str) -> None:
    assert extxyz.labels(frame_of(tmp_path, f"{CELL} stress={stress}"))["stress"] == [1, 2, 3, 4, 5, 6]


def test_rounded_halves_of_a_stress_are_averaged(tmp_path: Path) -> None:
    frame = frame_of(tmp_path, f'{CELL} stress="1 0.5 0 0.5001 1 0 0 0 1"')
    assert extxyz.labels(frame)["stress"] == pytest.approx([1, 1, 1, 0, 0, 0.50005], abs=1e-12)


def test_voigt_and_matrix_are_each_others_inverse() -> None:
    numbers = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert voigt.from_matrix(voigt.to_matrix(numbers)) == numbers
    stress = pytest.importorskip("ase.stress")
    assert voigt.to_matrix(numbers) == stress.voigt_6_to_full_3x3_stress(numbers).tolist()


def test_two_candidates_are_an_error_that_names_both(tmp_path: Path) -> None:
    frame = frame_of(tmp_path, "energy=-1 REF_energy=-2")
    with pytest.raises(
        BadData, match=r"^data.xyz:1: frame 1: energy and REF_energy could both be the energy, but differ$"
    ) as error:
        extxyz.labels(frame)
    assert "--keys energy=REF_energy" in error.value.hint
    assert extxyz.labels(frame, {"energy": "REF_energy"})["energy"] == -2
    assert extxyz.labels(frame, {"energy": "energy"})["energy"] == -1
    both = frame_of(tmp_path, "", ":dft_forces:R:3:REF_forces:R:3", "O 0 0 0.25 1 2 3 4 5 6\n")
    with pytest.raises(BadData, match="REF_forces and dft_forces"):
        extxyz.labels(both)


def test_named_keys(tmp_path: Path) -> None:
    frame = frame_of(tmp_path, "E=-3", ":f:R:3", FORCES)
    label = extxyz.labels(frame, {"energy": "E", "forces": "f"})
    assert (label["energy"], label["forces"]) == (-3.0, [[1, 2, 3], [4, 5, 6]])
    assert extxyz.label_names(frame, {"energy": "E", "forces": "f"}) == ("E", "f")
    with pytest.raises(BadData, match=r"^data.xyz:1: frame 1: no key 'E0' for the energy$") as error:
        extxyz.labels(frame, {"energy": "E0"})
    assert error.value.hint == "did you mean 'E'?"
    with pytest.raises(BadData, match="no column 'E' for the forces"):
        extxyz.labels(frame, {"forces": "E"})


def test_an_isolated_atom_needs_neither_forces_nor_stress(tmp_path: Path) -> None:
    frame = frame_of(tmp_path, "E=-3", "", "O 0 0 0\n")
    label = extxyz.labels(frame, {"energy": "E", "forces": "f", "stress": "s"})
    assert label == {"energy": -3.0, "forces": None, "stress": None}


@pytest.mark.parametrize(
    ("comment", "columns", "message"),
    [
        ("energy=low", "", "energy='low' is not a number"),
        ("energy=T", "", "energy='True' is not a number"),
        ('energy="1 2"', "", r"energy='\[1, 2\]' is not a number"),
        ("energy=nan", "", "a label is not a finite number: energy"),
        ("", ":forces:R:2:x:R:1", "the column forces is not forces:R:3"),
        ("", ":forces:S:3", "the column forces is not forces:R:3"),
        ("", ":forces:R:3", "a label is not a finite number: forces"),
        ('stress="1 2 3"', "", "stress is not nine numbers, nor six"),
        ("stress=1", "", "stress is not nine numbers, nor six"),
        ("stress=[[a, b, c], [d, e, f], [g, h, i]]", "", "stress is not nine numbers"),
        ('stress="1 2 3 4 5 6 7 8 9"', "", "stress is not a symmetric matrix"),
        ('stress="1 0 0 0 1 0 0 0 nan"', "", "a label is not a finite number: stress"),
    ],
)
def test_labels_of_the_wrong_kind(tmp_path: Path, comment: str, columns: str, message: str) -> None:
    frame = frame_of(tmp_path, f"{CELL} {comment}", columns, "O 0 0 0.25 1 2 inf\n" if columns else "O 0 0 0\n")
    with pytest.raises(BadData, match=rf"^data.xyz:1: frame 1: {message}"):
        extxyz.labels(frame)


def test_what_belongs_to_the_labels_goes_with_them(tmp_path: Path) -> None:
    frame = frame_of(tmp_path, f"{CELL} energy=1 free_energy=2 virial={NINE} config_type=a", ":magmoms:R:3", FORCES)
    assert extxyz.label_names(frame) == ("energy", "virial", "free_energy", "magmoms")


def test_parse_keys() -> None:
    keys = extxyz.parse_keys("energy=REF_energy, forces=REF_forces")
    assert keys == {"energy": "REF_energy", "forces": "REF_forces"}
    for text in ("energy", "energy=", "", "energy=a,energy=b", "energie=a"):
        with pytest.raises(UsageError):
            extxyz.parse_keys(text)
    with pytest.raises(UsageError) as error:
        extxyz.parse_keys("energie=a")
    assert "energy" in error.value.hint


def test_the_layout_of_an_id(tmp_path: Path) -> None:
    frame = frame_of(tmp_path, f'charge=-1 multiplicity=2 {CELL} pbc="T T F"')
    hashed = b"O H\n" + struct.pack("<6d", 0.0, 0.0, 0.0, 0.75, 0.25, -0.5)
    hashed += b"cell" + struct.pack("<9d", 5.0, 0.0, 0.0, 0.5, 6.0, 0.0, 0.0, 0.0, 7.0) + b"TTF"
    assert extxyz.frame_id(frame, ()) == _digits(hashlib.sha256(hashed).hexdigest())
    hashed += b";charge=-1"
    assert extxyz.frame_id(frame, ("charge",)) == _digits(hashlib.sha256(hashed).hexdigest())
    hashed += b";multiplicity=2"
    assert extxyz.frame_id(frame) == _digits(hashlib.sha256(hashed).hexdigest())
    assert extxyz.frame_id(frame, ("multiplicity", "charge")) == extxyz.frame_id(frame)


def test_moments_are_an_input(tmp_path: Path) -> None:
    """Those that ASE writes, where one is not zero and the method reads them."""
    inputs = ("charge", "multiplicity", "moments")

    def frame(first: str, kind: str = "R:1") -> extxyz.Frame:
        return frame_of(tmp_path, CELL, f":initial_magmoms:{kind}", f"O 0 0 0.25 {first}\nH 0 0.75 -0.5 {first}\n")

    assert extxyz.message(frame("-1.5"), inputs)["moments"] == [-1.5, -1.5]
    assert extxyz.frame_id(frame("-1.5"), inputs) != extxyz.frame_id(frame("-1.5"))
    assert extxyz.frame_id(frame("-1.5")) == extxyz.frame_id(frame_of(tmp_path, CELL))
    assert extxyz.frame_id(frame("0"), inputs) == extxyz.frame_id(frame_of(tmp_path, CELL))
    assert "moments" not in extxyz.message(frame("1", "I:1"))
    with pytest.raises(BadData, match="initial_magmoms is not one number for each atom"):
        extxyz.frame_id(frame("0 0 1", "R:3"), inputs)


@pytest.mark.parametrize(
    "atoms", ["O 0.00 -0.0 2.5e-1\nH -0 0.750 -.5\n", "8 0 0 0.25\n1 0 0.75 -0.5\n", "o 0 0 .25\nh 0 75e-2 -0.50\n"]
)
def test_equal_numbers_have_equal_ids(tmp_path: Path, atoms: str) -> None:
    plain = extxyz.frame_id(frame_of(tmp_path, CELL))
    assert extxyz.frame_id(frame_of(tmp_path, CELL.replace("7.0", "7").replace("0.0", "-0"), "", atoms)) == plain
    assert extxyz.frame_id(frame_of(tmp_path, f"energy=5 {CELL} config_type=a")) == plain


def test_different_structures_have_different_ids(tmp_path: Path) -> None:
    ids = {
        extxyz.frame_id(frame_of(tmp_path, comment, "", atoms))
        for comment in ("", CELL, f'{CELL} pbc="F F F"', CELL.replace("7.0", "7.000000000000001"), "charge=0",
                        "charge=1", "charge=1 multiplicity=2")
        for atoms in ("O 0 0 0.25\nH 0 0.75 -0.5\n", "H 0 0.75 -0.5\nO 0 0 0.25\n",
                      "O 0 0 0.25\nH 0 0.75 -0.5000000000000001\n",
                      "O 0 0.25 0\nH 0.75 0 -0.5\n", "O 0 0 0.25\n")
    }  # fmt: skip
    assert len(ids) == 35


@given(st.text("0123456789de", min_size=60, max_size=63).map(lambda digits: digits.ljust(64, "a")))
def test_an_id_never_reads_as_a_number(digest: str) -> None:
    name = _digits(digest)
    assert len(name) == 16
    assert name in digest
    with pytest.raises(ValueError, match="could not convert"):
        float(name.replace("d", "e"))


def test_an_id_that_would_read_as_a_number() -> None:
    assert _digits("12345678e0123456a" + "0" * 47) == "2345678e0123456a"
    assert _digits("a1234567890123456" + "0" * 47) == "a123456789012345"


@pytest.mark.parametrize(
    ("comment", "message"),
    [
        ("charge=one", "charge=one is not an integer"),
        ("charge=0.5", "charge=0.5 is not an integer"),
        ("charge", "charge=True is not an integer"),
        ('charge="1 2"', "is not an integer"),
        ("multiplicity=0", "multiplicity=0 is less than 1"),
    ],
)
def test_inputs_that_are_no_integers(tmp_path: Path, comment: str, message: str) -> None:
    frame = frame_of(tmp_path, comment)
    with pytest.raises(BadData, match=message):
        extxyz.frame_id(frame)
    assert extxyz.frame_id(frame, ()) == extxyz.frame_id(frame_of(tmp_path), ())


def test_the_wire(tmp_path: Path) -> None:
    frame = frame_of(tmp_path, f'charge=-1.0 multiplicity=2 {CELL} pbc="T T F" energy=3')
    expected: dict[str, Any] = {
        "id": extxyz.frame_id(frame),
        "symbols": ["O", "H"],
        "positions": [[0.0, 0.0, 0.25], [0.0, 0.75, -0.5]],
        "cell": [[5.0, 0.0, 0.0], [0.5, 6.0, 0.0], [0.0, 0.0, 7.0]],
        "pbc": [True, True, False],
        "charge": -1,
        "multiplicity": 2,
    }
    assert extxyz.message(frame) == expected
    del expected["charge"], expected["multiplicity"]
    expected["id"] = extxyz.frame_id(frame, ())
    assert extxyz.message(frame, ()) == expected
    assert extxyz.message(frame_of(tmp_path))["cell"] is None
