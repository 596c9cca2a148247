"""Reading extended XYZ: the same structures as ASE sees, and one clear line for everything that is wrong."""

from __future__ import annotations

import gzip
import io
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from psiflow_cli import extxyz
from psiflow_cli.errors import BadData, NoInput

CELL = 'Lattice="5.0 0.0 0.0 0.5 6.0 0.0 0.0 0.0 7.0"'
COMMENT = f'{CELL} Properties=species:S:1:pos:R:3:forces:R:3 energy=-1.5 pbc="T T F"'
ATOMS = "O 0.0 0.0 0.25 0.1 0.2 0.3\nH 0.0 0.75 -0.5 -0.1 -0.2 -0.3\n"
GOOD = f"2\n{COMMENT}\n{ATOMS}"


def frames_of(tmp_path: Path, text: str | bytes, name: str = "data.xyz") -> list[extxyz.Frame]:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(extxyz.read(path, name))


def only(tmp_path: Path, text: str) -> extxyz.Frame:
    (frame,) = frames_of(tmp_path, text)
    return frame


def test_a_frame(tmp_path: Path) -> None:
    first, second = frames_of(tmp_path, GOOD + GOOD)
    assert (first.where, second.where) == ("data.xyz:1: frame 1", "data.xyz:5: frame 2")
    assert first.natoms == 2
    assert first.symbols == ["O", "H"]
    assert first.positions == [[0.0, 0.0, 0.25], [0.0, 0.75, -0.5]]
    assert first.cell == [[5.0, 0.0, 0.0], [0.5, 6.0, 0.0], [0.0, 0.0, 7.0]]
    assert first.pbc == [True, True, False]
    assert first.info == {"energy": -1.5}
    assert first.properties == [("species", "S", 1), ("pos", "R", 3), ("forces", "R", 3)]
    assert first.column("forces") == [[0.1, 0.2, 0.3], [-0.1, -0.2, -0.3]]
    assert first.comment == COMMENT
    with pytest.raises(KeyError):
        first.column("charges")


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("a=1", 1), ("a=-1.5e3", -1500.0), ("a=T", True), ("a=False", False), ("a=text", "text"), ("a", True),
        ('a="two words"', "two words"), ("a='two words'", "two words"), ("a={two words}", "two words"),
        (r'a="a \"word\""', 'a "word"'), (r'a="back\\slash"', "back\\slash"), (r'a="two\nlines"', "two\nlines"),
        ('a="1 2 3"', [1, 2, 3]), ('a="1 2.5 3"', [1.0, 2.5, 3.0]), ("a={1 2}", [1, 2]), ("a=[1, 2, 3]", [1, 2, 3]),
        ("a=[1]", [1]), ("a=[[1, 2], [3, 4]]", [[1, 2], [3, 4]]), ("a=[x, y]", ["x", "y"]), ('a="T F"', [True, False]),
        ("a=1,2", [1, 2]), ('a="_JSON [209.44, 80.54]"', [209.44, 80.54]), 
        (r'a="_JSON {\"b\": [1, null]}"', {"b": [1, None]}),
        ("a = 3", 3), ("a=b=c", "b=c"), ('a=""', ""), ("a=1_000", "1_000"), ("a=H2O.cif", "H2O.cif"),
        ("a=2.5.1", "2.5.1"),
        ('"the key"=1', None), ('a=b"c d"e', "bc de"), ("a=\u00e5", "\u00e5"), ("a=\u0661", "\u0661"),
    ],
)  # fmt: skip
def test_values_of_the_comment(tmp_path: Path, written: str, value: Any) -> None:
    frame = only(tmp_path, f"1\nProperties=species:S:1:pos:R:3 {written} z=1\nH 0 0 0\n")
    expected = {"the key": 1} if value is None else {"a": value}
    assert frame.info == {**expected, "z": 1}
    assert all(type(frame.info[key]) is type(expected[key]) for key in expected)


def test_the_comment_is_what_ase_reads(tmp_path: Path) -> None:
    ase_io = pytest.importorskip("ase.io")
    words = 'a=1 b=2.5 c=T d="x y" e="1 2" f="T F" g="_JSON [1, 2]" h=\'q r\' i k={3 4} l=m=n o = 5 p=q"r s"t'
    frame = only(tmp_path, f"1\nProperties=species:S:1:pos:R:3 {words}\nH 0 0 0\n")
    atoms = ase_io.read(tmp_path / "data.xyz", format="extxyz")
    theirs = {key: value.tolist() if hasattr(value, "tolist") else value for key, value in atoms.info.items()}
    assert frame.info == theirs


@pytest.mark.parametrize(
    ("comment", "cell", "pbc"),
    [
        ("", False, [False] * 3),
        (CELL, True, [True] * 3),
        (f'{CELL} pbc="F F F"', True, [False] * 3),
        (f"{CELL} pbc=F", True, [False] * 3),
        (f'{CELL} pbc="1 0 1"', True, [True, False, True]),
        ('Lattice="0 0 0 0 0 0 0 0 0" pbc="F F F"', False, [False] * 3),
        ('Lattice="0 0 0 0 0 0 0 0 0"', False, [False] * 3),
        ("Lattice={5,0,0,0.5,6,0,0,0,7}", True, [True] * 3),
    ],
)
def test_cell_and_pbc(tmp_path: Path, comment: str, cell: bool, pbc: list[bool]) -> None:
    frame = only(tmp_path, f"1\n{comment}\nH 0 0 0\n")
    assert frame.cell == ([[5.0, 0.0, 0.0], [0.5, 6.0, 0.0], [0.0, 0.0, 7.0]] if cell else None)
    assert frame.pbc == pbc


@pytest.mark.parametrize(
    "comment", ["", "Water, by Bob's own hand [x", 'an "unclosed quote', " i =  0, time =  0.0, E =  -17.2", "a a a"]
)
def test_plain_xyz(tmp_path: Path, comment: str) -> None:
    frame = only(tmp_path, f"2\n{comment}\nO 0 0 0\nH 0 0 1\n")
    assert frame.symbols == ["O", "H"]
    assert frame.cell is None
    assert frame.info.get("E") == (-17.2 if "E =" in comment else None)


def test_species_in_any_case_and_as_numbers(tmp_path: Path) -> None:
    assert only(tmp_path, "4\n\n8 0 0 0\n1 0 0 1\nCL 0 0 2\nfe 0 0 3\n").symbols == ["O", "H", "Cl", "Fe"]
    frame = only(tmp_path, "2\nProperties=Z:I:1:pos:R:3\n8 0 0 0\n1 0 0 1\n")
    assert frame.symbols == ["O", "H"]
    assert only(tmp_path, "1\nProperties=species:S:1:pos:R:3:Z:I:1\nO 0 0 0 8\n").symbols == ["O"]


def test_columns_in_any_order(tmp_path: Path) -> None:
    frame = only(tmp_path, "1\nProperties=id:I:1:fixed:L:1:pos:R:3:tag:S:2:species:S:1\n7 T 1 2 3 a b He\n")
    assert frame.symbols == ["He"]
    assert frame.positions == [[1.0, 2.0, 3.0]]
    assert [frame.column(name) for name in ("id", "fixed", "tag")] == [[7], [True], [["a", "b"]]]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: text + "\n  \n\n",
        lambda text: text.rstrip("\n"),
        lambda text: text.replace("2\n", "  2  \n", 1),
        lambda text: text.replace(" ", "  ").replace("0.0  0.0  0.25", "\t0.0\t0.0 \t0.25"),
        lambda text: text.replace("\nO", "\n   O"),
    ],
    ids=["windows", "byte order mark", "blank end", "no last line end", "padded count", "wide", "indented"],
)
def test_harmless_differences(tmp_path: Path, change: Any) -> None:
    frame = only(tmp_path, change(GOOD))
    assert extxyz.frame_id(frame) == extxyz.frame_id(only(tmp_path, GOOD))
    assert extxyz.labels(frame) == extxyz.labels(only(tmp_path, GOOD))
    assert "\r" not in extxyz.render(frame)


P = "Properties=species:S:1:pos:R:3"
BAD = {
    "nothing": ("", "data.xyz:1: it contains no frames"),
    "blank only": ("\n \n", "data.xyz:1: it contains no frames"),
    "not xyz": ("hello\n", "data.xyz:1: frame 1: 'hello' is not a number of atoms"),
    "binary": (b"\x00\xff\x80" * 50, "data.xyz:1: frame 1: "),
    "one long line": ("1" * 5000, "data.xyz:1: frame 1: "),
    "float count": ("2.0\n\n", "data.xyz:1: frame 1: '2.0' is not a number"),
    "negative count": ("-1\n\n", "data.xyz:1: frame 1: '-1' is not a number"),
    "foreign digits": ("\u0661\n\nH 0 0 0\n", "data.xyz:1: frame 1: "),
    "no atoms": ("0\n\n", "data.xyz:1: frame 1: no atoms"),
    "count only": ("2\n", "data.xyz:1: frame 1: ends after its first line"),
    "cut between atoms": (GOOD + "2\n\nH 0 0 0\n", "data.xyz:7: frame 2: ends after 1 of 2 atoms"),
    "cut in a line": ("2\n\nH 0 0 0\nH 0 0\n", "data.xyz:4: frame 1: atom 2: 3 columns, expected 4"),
    "huge count": ("99999999999\n\nH 0 0 0\n", "data.xyz:3: frame 1: ends after 1 of 99999999999 atoms"),
    "count too small": ("1\n\nH 0 0 0\nH 0 0 1\n", "data.xyz:4: frame 1: 'H 0 0 1' follows its 1 atom"),
    "count too large": ("2\n\nH 0 0 0\n1\n\nH 0 0 0\n", "data.xyz:4: frame 1: atom 2: 1 column, expected 4"),
    "blank between": (GOOD + "\n" + GOOD, "data.xyz:5: frame 2: a blank line before it"),
    "too many columns": ("1\n\nH 0 0 0 1\n", "data.xyz:3: frame 1: atom 1: 5 columns, expected 4"),
    "words moved": ("2\n\nH 0 0\n0 H 0 0 0\n", "data.xyz:3: frame 1: atom 1: 3 columns, expected 4"),
    "NUL": ("2\n\nH 0 0 0\nH 0 0 \0\n", "data.xyz:4: frame 1: atom 2: a NUL byte"),
    "nan": ("2\n\nH 0 0 0\nH 0 nan 0\n", "data.xyz:4: frame 1: atom 2: its position is not finite"),
    "inf": ("1\n\nH 0 -inf 0\n", "data.xyz:3: frame 1: atom 1: its position is not finite"),
    "overflow": ("1\n\nH 0 1e999 0\n", "data.xyz:3: frame 1: atom 1: its position is not finite"),
    "no number": ("2\n\nH 0 0 0\nH 0 0.0.1 0\n", "data.xyz:4: frame 1: atom 2: pos: '0.0.1' is not a number"),
    "Fortran": ("1\n\nH 0 ****** 0\n", "data.xyz:3: frame 1: atom 1: pos: '******' is not a number"),
    "underscore": ("1\n\nH 0 1_0 0\n", "data.xyz:3: frame 1: atom 1: pos: '1_0' is not a number"),
    "foreign number": ("1\n\nH 0 \u0661 0\n", "data.xyz:3: frame 1: atom 1: pos: "),
    "no UTF-8 among atoms": (b"1\n\nH\xff 0 0 0\n", "data.xyz:3: frame 1: atom 1: species: "),
    "no UTF-8 in the comment": (b"1\nabc\xff\nH 0 0 0\n", "data.xyz:2: frame 1: the comment line is not UTF-8"),
    "dummy": ("1\n\nX 0 0 0\n", "data.xyz:3: frame 1: atom 1: 'X' is not an element"),
    "unknown": ("2\n\nH 0 0 0\nXx 0 0 0\n", "data.xyz:4: frame 1: atom 2: 'Xx' is not an element"),
    "number 0": ("1\n\n0 0 0 0\n", "data.xyz:3: frame 1: atom 1: '0' is not an element"),
    "number 119": ("1\n\n119 0 0 0\n", "data.xyz:3: frame 1: atom 1: '119' is not an element"),
    "Z against species": (
        f"1\n{P}:Z:I:1\nH 0 0 0 2\n",
        "data.xyz:3: frame 1: atom 1: its species is H, but its Z is 2",
    ),
    "no triples": (
        "1\nProperties=species:S:1:pos:R\nH 0 0 0\n",
        "data.xyz:2: frame 1: Properties=species:S:1:pos:R is",
    ),
    "kind": (f"1\n{P}:q:Q:1\nH 0 0 0 1\n", "data.xyz:2: frame 1: Properties: q has the kind 'Q'"),
    "columns": (f"1\n{P}:q:R:-1\nH 0 0 0 1\n", "data.xyz:2: frame 1: Properties: q has '-1' columns"),
    "many columns": (f"1\n{P}:q:R:999999999999\nH 0 0 0 1\n", "data.xyz:2: frame 1: Properties: q has "),
    "column twice": (f"1\n{P}:pos:R:3\nH 0 0 0 0 0 0\n", "data.xyz:2: frame 1: Properties: 'pos' twice"),
    "no pos": ("1\nProperties=species:S:1:x:R:3\nH 0 0 0\n", "data.xyz:2: frame 1: Properties needs pos:R:3"),
    "no species": ("1\nProperties=name:S:1:pos:R:3\nH 0 0 0\n", "data.xyz:2: frame 1: Properties needs species:S:1"),
    "8 numbers": ('1\nLattice="1 0 0 0 1 0 0 0"\nH 0 0 0\n', 'data.xyz:2: frame 1: Lattice="1 0 0 0 1 0 0 0" is not'),
    "nan lattice": ('1\nLattice="1 0 0 0 1 0 0 0 nan"\nH 0 0 0\n', "data.xyz:2: frame 1: Lattice="),
    "huge": ('1\nLattice="1e30 0 0 0 5 0 0 0 5"\nH 0 0 0\n', "has a vector longer than 1e+08 Å"),
    "flat": ('1\nLattice="1 0 0 0 1 0 1 1 0"\nH 0 0 0\n', "has no volume"),
    "zero, periodic": ('1\nLattice="0 0 0 0 0 0 0 0 0" pbc="T T T"\nH 0 0 0\n', "frame 1: periodic, but without"),
    "no lattice, periodic": ('1\npbc="T F F"\nH 0 0 0\n', "data.xyz:2: frame 1: periodic, but without a Lattice"),
    "pbc of 2": (f'1\n{CELL} pbc="T T"\nH 0 0 0\n', 'data.xyz:2: frame 1: pbc="T T" is not'),
    "pbc of words": (f'1\n{CELL} pbc="yes no no"\nH 0 0 0\n', "data.xyz:2: frame 1: pbc="),
    "lattice": ('1\nlattice="1 0 0 0 1 0 0 0 1"\nH 0 0 0\n', "data.xyz:2: frame 1: write Lattice= instead of lattice="),
    "key twice": (f"1\n{P} energy=1 energy=2\nH 0 0 0\n", "data.xyz:2: frame 1: the comment line has 'energy' twice"),
    "open quote": (f'1\n{P} a="b c\nH 0 0 0\n', "data.xyz:2: frame 1: the comment line cannot be read from column"),
    "open bracket": (f"1\n{P} a=[1, 2\nH 0 0 0\n", "data.xyz:2: frame 1: the comment line cannot be read from"),
    "no value": (f"1\n{P} a=\nH 0 0 0\n", "data.xyz:2: frame 1: the comment line cannot be read from"),
    "no JSON": (f'1\n{P} a="_JSON [1"\nH 0 0 0\n', "data.xyz:2: frame 1: the JSON in '_JSON [1' cannot be read"),
    "deep JSON": (f'1\n{P} a="_JSON {"[" * 100000}"\nH 0 0 0\n', "data.xyz:2: frame 1: the JSON in "),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD.keys())
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(BadData) as caught:
        frames_of(tmp_path, text)
    assert message in caught.value.message
    assert caught.value.message.startswith("data.xyz:")
    assert "\n" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("2\n\nH 0 0 0\n1\n\nH 0 0 0\n", "atom count of frame 1 looks too large"),
        ("1\n\nH 0 0 0\nH 0 0 1\n", "atom count of frame 1 looks wrong"),
        ("1\n\nOW 0 0 0\n", "did you mean 'O'?"),
        ("1\n\nD 0 0 0\n", "write H"),
        ("1\n\nX 0 0 0\n", "dummy"),
        ("1\n\n7_x 0 0 0\n", "element symbols"),
    ],
)
def test_hints(tmp_path: Path, text: str, hint: str) -> None:
    with pytest.raises(BadData) as caught:
        frames_of(tmp_path, text)
    assert hint in caught.value.hint


def test_another_column_is_checked_when_it_is_read(tmp_path: Path) -> None:
    frame = only(tmp_path, GOOD.replace("-0.2", "******"))
    with pytest.raises(BadData, match=r"^data.xyz:4: frame 1: atom 2: forces: '\*+' is not a number$"):
        extxyz.labels(frame)


def test_a_frame_of_many_blocks(tmp_path: Path) -> None:
    atoms = [f"H {i}.5 0.25 -{i}\n" for i in range(20001)]
    frame = only(tmp_path, f"{len(atoms)}\n\n{''.join(atoms)}")
    assert frame.natoms == 20001
    assert frame.positions == [[i + 0.5, 0.25, float(-i)] for i in range(20001)]
    atoms[17000] = "H 1 2\n"
    with pytest.raises(BadData, match=r"^data.xyz:17003: frame 1: atom 17001: 3 columns"):
        only(tmp_path, f"{len(atoms)}\n\n{''.join(atoms)}")


def test_a_wrong_count_does_not_swallow_the_file(tmp_path: Path) -> None:
    path = tmp_path / "data.xyz"
    path.write_text("999999999\n\n" + "H 0 0 0\n" * 5 + GOOD * 40000)
    frames = extxyz.read(path)
    tracemalloc.start()
    with pytest.raises(BadData, match="expected 4"):
        next(frames)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_inputs_that_cannot_be_opened(tmp_path: Path) -> None:
    for path, message in ((tmp_path / "absent.xyz", "no such file"), (tmp_path, "is a directory")):
        with pytest.raises(NoInput, match=message):
            next(extxyz.read(path))


def test_compressed(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    packed = {"data.xyz.gz": gzip.compress(GOOD.encode()), "data.xyz.zst": zstandard.compress(GOOD.encode())}
    for name, data in packed.items():
        assert len(frames_of(tmp_path, data, name)) == 1
        assert len(frames_of(tmp_path, data + data, name)) == 2
        assert len(frames_of(tmp_path, data, "named-otherwise.xyz")) == 1
        for cut in (len(data) - 1, len(data) // 2, 12):
            with pytest.raises(BadData, match=f"^{name}: the .* cut off"):
                frames_of(tmp_path, data[:cut], name)
    broken = bytearray(packed["data.xyz.zst"])
    broken[8] ^= 0xFF
    with pytest.raises(BadData, match="data"):
        frames_of(tmp_path, bytes(broken), "data.xyz.zst")


def test_a_file_that_compresses_well_stays_small(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    path = tmp_path / "data.xyz.zst"
    path.write_bytes(zstandard.compress(GOOD.encode() * 200_000))
    tracemalloc.start()
    assert sum(1 for _, frame in zip(range(1000), extxyz.read(path), strict=False) if frame.natoms == 2) == 1000
    assert tracemalloc.get_traced_memory()[1] < 30e6
    tracemalloc.stop()


def test_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO((GOOD + "x\n").encode()))))
    frames = extxyz.read("-")
    assert next(frames).where == "<stdin>:1: frame 1"
    with pytest.raises(BadData, match=r"^<stdin>:5: frame 1: 'x' follows its 2 atoms"):
        next(frames)
    assert not sys.stdin.buffer.closed


@pytest.mark.parametrize("name", ["3bpa-train-300K.xyz", "3bpa-isolated-atoms.xyz", "water-192-dft.xyz"])
def test_public_data_is_what_ase_reads(shared_data: Path, name: str) -> None:
    ase_io = pytest.importorskip("ase.io")
    frames = list(extxyz.read(shared_data / name))
    theirs = ase_io.read(shared_data / name, ":", format="extxyz")
    assert len(frames) == len(theirs)
    for frame, atoms in zip(frames, theirs, strict=True):
        assert frame.symbols == atoms.get_chemical_symbols()
        assert frame.positions == atoms.positions.tolist()
        assert (frame.cell or [[0.0] * 3] * 3) == atoms.cell.tolist()
        assert frame.pbc == atoms.pbc.tolist()
        label = extxyz.labels(frame)
        assert label["energy"] == atoms.get_potential_energy()
        assert label["forces"] == (None if "isolated" in name else atoms.get_forces().tolist())
        assert frame.info.get("dihedrals") == (atoms.info["dihedrals"].tolist() if "train" in name else None)
