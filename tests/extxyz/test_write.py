"""Writing extended XYZ: what is set reads back bit for bit, here, in ASE and in libAtoms' package; the rest stays."""

from __future__ import annotations

import gzip
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from psiflow_cli import extxyz, voigt
from psiflow_cli.elements import SYMBOLS

ase_io = pytest.importorskip("ase.io")
CELL = 'Lattice="5.0 0.0 0.0 0.5 6.0 0.0 0.0 0.0 7.0"'
COMMENT = (
    f'{CELL}  Properties=species:S:1:pos:R:3:tag:I:1:forces:R:3 name="a b"   energy=-1.50 flag note={{x y}} pbc="T T F"'
)
GOOD = f"2\n{COMMENT}\nO  0.00 0.0 0.25   7 0.1 0.2 0.3\nH  0.00 0.75 -0.5   8 -0.1 -0.2 -0.3\n"
FORCES = [[1.0000000000000002, -5e-324, 1e300], [0.1, 1 / 3, -2.5e-17]]
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def frame_of(tmp_path: Path, text: str) -> extxyz.Frame:
    path = tmp_path / "in.xyz"
    path.write_bytes(text.encode())
    (frame,) = extxyz.read(path)
    return frame


def seen_by_ase(tmp_path: Path, text: str) -> Any:
    path = tmp_path / "out.xyz"
    path.write_text(text)
    (atoms,) = ase_io.read(path, ":", format="extxyz")
    return atoms


def seen_by_libatoms(tmp_path: Path, text: str) -> Any:
    package = pytest.importorskip("extxyz")
    path = tmp_path / "out.xyz"
    path.write_text(text)
    return package.read_dicts(path)


def plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def test_a_frame_that_does_not_change_keeps_its_text(tmp_path: Path) -> None:
    frame = frame_of(tmp_path, GOOD.replace("\n", " \r\n"))
    assert extxyz.render(frame) == GOOD.replace('F"\n', 'F" \n')
    assert extxyz.render(frame_of(tmp_path, GOOD), drop=("absent",)) == GOOD


def test_what_is_not_named_stays(tmp_path: Path) -> None:
    text = extxyz.render(
        frame_of(tmp_path, GOOD),
        set_info={"energy": -0.1, "psiflow_code": "CP2K 2023.1"},
        set_columns={"forces": ("R", FORCES), "std": ("R", [[0.5], [2]])},
        drop=("flag", "absent"),
    )
    assert text.splitlines() == [
        "2",
        f'{CELL} Properties=species:S:1:pos:R:3:tag:I:1:forces:R:3:std:R:1 name="a b" energy=-0.1 note={{x y}} '
        'pbc="T T F" psiflow_code="CP2K 2023.1"',
        "O 0.00 0.0 0.25 7 1.0000000000000002 -5e-324 1e+300 0.5",
        "H 0.00 0.75 -0.5 8 0.1 0.3333333333333333 -2.5e-17 2.0",
    ]


def test_new_columns_leave_the_old_text_alone(tmp_path: Path) -> None:
    text = extxyz.render(frame_of(tmp_path, GOOD), set_columns={"model_forces": ("R", FORCES)})
    assert "O  0.00 0.0 0.25   7 0.1 0.2 0.3 1.0000000000000002 -5e-324 1e+300\n" in text
    again = frame_of(tmp_path, text)
    assert again.column("model_forces") == FORCES
    assert again.column("forces") == [[0.1, 0.2, 0.3], [-0.1, -0.2, -0.3]]


def test_columns_and_keys_are_dropped(tmp_path: Path) -> None:
    text = extxyz.render(frame_of(tmp_path, GOOD), drop=("tag", "energy", "forces"))
    assert text.splitlines()[1] == f'{CELL} Properties=species:S:1:pos:R:3 name="a b" flag note={{x y}} pbc="T T F"'
    assert text.splitlines()[2] == "O 0.00 0.0 0.25"


def test_setting_wins_over_dropping(tmp_path: Path) -> None:
    text = extxyz.render(
        frame_of(tmp_path, GOOD), {"energy": 2.0}, {"forces": ("R", FORCES)}, drop=("energy", "forces")
    )
    again = frame_of(tmp_path, text)
    assert extxyz.labels(again)["energy"] == 2.0
    assert extxyz.labels(again)["forces"] == FORCES


def test_positions_and_cell_can_be_replaced(tmp_path: Path) -> None:
    cell = [[4.0, 0.0, 0.1], [0.0, 4.0, 0.0], [0.0, 0.0, 4.0]]
    text = extxyz.render(frame_of(tmp_path, GOOD), {"Lattice": cell}, {"pos": ("R", FORCES)}, ("forces", "energy"))
    atoms = seen_by_ase(tmp_path, text)
    assert atoms.positions.tolist() == FORCES
    assert atoms.cell.tolist() == cell
    assert atoms.arrays["tag"].tolist() == [7, 8]


def test_ase_sees_labels_and_predictions(tmp_path: Path) -> None:
    stress = [1.0, 2.0, 3.0, 0.4, 0.5, 0.1 + 0.2]
    matrix = voigt.to_matrix(stress)
    text = extxyz.render(
        frame_of(tmp_path, GOOD.replace('"T T F"', '"T T T"')),
        {"energy": -1 / 3, "stress": matrix, "model_energy": 0.7, "model_stress": matrix, "psiflow_id": "0" * 15 + "a"},
        {"forces": ("R", FORCES), "model_forces": ("R", FORCES[::-1])},
    )
    atoms = seen_by_ase(tmp_path, text)
    assert atoms.get_potential_energy() == -1 / 3
    assert atoms.get_forces().tolist() == FORCES
    assert atoms.get_stress().tolist() == stress
    assert atoms.info["model_energy"] == 0.7
    assert atoms.info["model_stress"].tolist() == matrix
    assert atoms.info["psiflow_id"] == "0" * 15 + "a"
    assert atoms.arrays["model_forces"].tolist() == FORCES[::-1]
    assert 'stress="1.0 0.30000000000000004 0.5 0.30000000000000004 2.0 0.4 0.5 0.4 3.0"' in text
    again = frame_of(tmp_path, text)
    assert extxyz.labels(again) == {"energy": -1 / 3, "forces": FORCES, "stress": stress}
    assert extxyz.labels(again, {"stress": "model_stress"})["stress"] == stress


def test_a_frame_that_ase_wrote_and_we_labelled_is_what_ase_writes(tmp_path: Path) -> None:
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator

    atoms = Atoms("OH", [[0, 0, 0], [0, 0, 1]], cell=[5, 6, 7], pbc=[True, False, True], info={"config_type": "a b"})
    ase_io.write(tmp_path / "bare.xyz", atoms, format="extxyz")
    (frame,) = extxyz.read(tmp_path / "bare.xyz")
    text = extxyz.render(
        frame, {"energy": -2.5, "stress": voigt.to_matrix([1, 2, 3, 4, 5, 6])}, {"forces": ("R", FORCES)}
    )
    atoms.calc = SinglePointCalculator(atoms, energy=-2.5, forces=FORCES, stress=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    ase_io.write(tmp_path / "theirs.xyz", atoms, format="extxyz")
    ours, theirs = seen_by_ase(tmp_path, text), ase_io.read(tmp_path / "theirs.xyz")
    assert ours.calc.results.keys() == theirs.calc.results.keys()
    assert ours.get_stress().tolist() == theirs.get_stress().tolist() == [1, 2, 3, 4, 5, 6]
    assert ours.info == theirs.info
    assert ours == theirs


@pytest.mark.parametrize(
    ("comment", "info"),
    [
        ("", {}),
        ("Water, by Bob's own hand", {"comment": "Water, by Bob's own hand"}),
        ("two words", {"comment": "two words"}),
        ("i =   0, E =  -17.25", {"i": 0, "E": -17.25}),
        ("charge=1 a b", {"charge": 1, "comment": "a b"}),
    ],
)
def test_plain_xyz_becomes_extended(tmp_path: Path, comment: str, info: dict[str, Any]) -> None:
    text = extxyz.render(
        frame_of(tmp_path, f"2\n{comment}\n8 0 0 0\n1 0 0 1.50\n"), {"energy": 1.0}, {"forces": ("R", FORCES)}
    )
    assert text.splitlines()[1].startswith("Properties=species:S:1:pos:R:3:forces:R:3")
    assert text.splitlines()[2].startswith("O 0 0 0 1.0")
    atoms = seen_by_ase(tmp_path, text)
    assert atoms.get_chemical_symbols() == ["O", "H"]
    assert atoms.get_forces().tolist() == FORCES
    assert {key: plain(value) for key, value in atoms.info.items()} == info
    libatoms = seen_by_libatoms(tmp_path, text)
    assert libatoms.arrays["forces"].tolist() == FORCES
    assert libatoms.info["energy"] == 1.0


def test_numbers_in_the_first_column_become_symbols(tmp_path: Path) -> None:
    assert extxyz.render(frame_of(tmp_path, "1\n\n8 0 0 0\n")) == "1\nProperties=species:S:1:pos:R:3\nO 0 0 0\n"


def test_kinds_of_columns(tmp_path: Path) -> None:
    columns = {"i": ("I", [[1, 2], [3, 4]]), "l": ("L", [True, False]), "s": ("S", ["ab", "c"]), "r": ("R", [1, 2])}
    text = extxyz.new_frame(["O", "H"], [[0, 0, 0], [0, 0, 1]], None, [False] * 3, {}, columns)
    frame = frame_of(tmp_path, text)
    assert [frame.column(name) for name in columns] == [[[1, 2], [3, 4]], [True, False], ["ab", "c"], [1.0, 2.0]]
    atoms = seen_by_ase(tmp_path, text)
    assert [plain(atoms.arrays[name]) for name in columns] == [frame.column(name) for name in columns]


@pytest.mark.parametrize(
    "columns",
    [
        {"forces": ("R", [[0.0, 0.0, 0.0]])},
        {"forces": ("R", [[0.0, 0.0, 0.0], [0.0, 0.0]])},
        {"name": ("S", ["a b", "c"])},
        {"name": ("S", ["", "c"])},
    ],
    ids=["an atom less", "ragged", "a blank", "empty"],
)
def test_columns_that_do_not_fit_are_refused(tmp_path: Path, columns: Any) -> None:
    with pytest.raises(ValueError, match=r"unequal|shorter|cannot be written"):
        extxyz.render(frame_of(tmp_path, GOOD), set_columns=columns)


numbers = st.floats(allow_nan=False, allow_infinity=False)
vectors = st.lists(numbers, min_size=3, max_size=3)
keys = st.text(string.ascii_letters + "_", max_size=8).map(lambda text: f"x{text}")  # no name of ASE's own
words = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=12)
ascii_words = st.text(string.printable[:95], max_size=12)
texts = (
    ascii_words
    | st.from_regex(r"[-+0-9.eEdDTF_, ]{1,8}", fullmatch=True)
    | st.sampled_from(["T", "nan", "inf", "_JSON 1", "true", "."])
)
lists = st.lists(numbers, min_size=2, max_size=10) | st.lists(st.booleans(), min_size=2, max_size=4)
lists |= st.lists(st.integers(-(2**31), 2**31 - 1), min_size=2, max_size=4)
scalars = numbers | st.integers(-(2**31), 2**31 - 1) | st.booleans()


@FUZZ
@given(
    st.lists(st.tuples(st.sampled_from(SYMBOLS), vectors, vectors), min_size=1, max_size=4),
    st.dictionaries(keys, texts | scalars | lists | words, max_size=4),
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_a_new_frame_is_read_back(
    tmp_path: Path, atoms: list[Any], info: dict[str, Any], pbc: tuple[bool, ...]
) -> None:
    symbols, positions, forces = (list(part) for part in zip(*atoms, strict=True))
    cell = [[9.0, 0.1, 0.0], [0.0, 1 / 3, 0.0], [-0.0, 0.0, 1e5]] if any(pbc) else None
    text = extxyz.new_frame(symbols, positions, cell, pbc, info, {"forces": ("R", forces)})
    frame = frame_of(tmp_path, text)
    assert (frame.symbols, frame.positions, frame.cell, frame.pbc) == (symbols, positions, cell, list(pbc))
    assert frame.info == info
    assert {key: type(value) for key, value in frame.info.items()} == {key: type(value) for key, value in info.items()}
    assert frame.column("forces") == forces
    assert extxyz.render(frame) == text
    ase = seen_by_ase(tmp_path, text)
    assert ase.get_chemical_symbols() == symbols
    assert ase.positions.tolist() == positions
    assert ase.get_forces().tolist() == forces
    assert {key: plain(value) for key, value in ase.info.items()} == info


@FUZZ
@given(st.dictionaries(keys, ascii_words | scalars | lists, max_size=4), vectors)
def test_libatoms_reads_a_new_frame(tmp_path: Path, info: dict[str, Any], position: list[float]) -> None:
    text = extxyz.new_frame(["H"], [position], [[9.0, 1.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 9.0]], [True] * 3, info)
    assume("_JSON" not in text)  # ASE's addition, and plain text to libAtoms
    assume(all(len(value) != 9 for value in info.values() if isinstance(value, list)))  # a matrix, there
    theirs = seen_by_libatoms(tmp_path, text)
    assert theirs.arrays["pos"].tolist() == [position]
    assert theirs.cell.tolist() == [[9.0, 0.0, 0.0], [1.0, 9.0, 0.0], [0.0, 0.0, 9.0]]  # one vector a column
    assert theirs.pbc.tolist() == [True] * 3
    assert {key: plain(value) for key, value in theirs.info.items()} == info


def test_control_characters_become_blanks(tmp_path: Path) -> None:
    text = extxyz.new_frame(["H"], [[0, 0, 0]], None, [False] * 3, {"message": "one\r\ntwo\x00\tthree"})
    assert frame_of(tmp_path, text).info["message"] == "one two three"


def test_files(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    texts = [GOOD, extxyz.render(next(extxyz.read(_file(tmp_path, GOOD))), {"name": "Å"})]
    for name in ("a.xyz", "a.xyz.gz", "a.xyz.zst"):
        assert extxyz.write(tmp_path / name, iter(texts)) == 2
        first = (tmp_path / name).read_bytes()
        assert extxyz.write(tmp_path / "again", texts, packed=Path(name).suffix) == 2
        assert (tmp_path / "again").read_bytes() == first
        assert [frame.info["name"] for frame in extxyz.read(tmp_path / name)] == ["a b", "Å"]
    whole = "".join(texts).encode()
    assert (tmp_path / "a.xyz").read_bytes() == whole
    assert gzip.decompress((tmp_path / "a.xyz.gz").read_bytes()) == whole
    assert zstandard.ZstdDecompressor().decompressobj().decompress((tmp_path / "a.xyz.zst").read_bytes()) == whole


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "in.xyz"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["3bpa-train-300K.xyz", "3bpa-isolated-atoms.xyz", "water-192-dft.xyz"])
def test_public_data_goes_through_unchanged(shared_data: Path, tmp_path: Path, name: str) -> None:
    frames = extxyz.read(shared_data / name)
    extxyz.write(tmp_path / name, map(extxyz.render, frames))
    assert (tmp_path / name).read_bytes() == (shared_data / name).read_bytes()
