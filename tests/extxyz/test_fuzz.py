"""Broken files by the hundred: every one is read, or refused with one clear line."""

from __future__ import annotations

import gzip
import re
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from psiflow_cli import extxyz
from psiflow_cli.errors import BadData

WHOLE = b"""2
Lattice="5.0 0.0 0.0 0.0 6.0 0.0 0.0 0.0 7.0" Properties=species:S:1:pos:R:3:forces:R:3 energy=-1.5 pbc="T T F"
O 0.0 0.0 0.25 0.1 0.2 0.3
H 0.0 0.75 -0.5 -0.1 -0.2 -0.3
1
Properties=species:S:1:pos:R:3:fixed:L:1 note="_JSON {\\"a\\": [1, 2]}" list={1 2} rows=[[1, 2], [3, 4]] charge=1 flag
Cl 1e-3 2 3 T
3
plain, with free text
8 0 0 0
1 0 0 1
1 0 1 0
"""
FUZZ = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
PACKED = gzip.compress(WHOLE, mtime=0)


def use(tmp_path: Path, data: bytes) -> None:
    """Do what commands do with frames; only BadData may come of it."""
    (tmp_path / "data.xyz").write_bytes(data)
    message = ""
    try:
        for frame in extxyz.read(tmp_path / "data.xyz", "data.xyz"):
            _use(tmp_path / "out.xyz", frame)
    except BadData as error:
        message = f"{error.message} {error.hint}"
    assert not message or re.match(r"data\.xyz:( |\d+: )", message)
    assert message.isprintable()
    assert len(message) < 500


def _use(path: Path, frame: extxyz.Frame) -> None:
    extxyz.message(frame)
    extxyz.labels(frame)
    assert frame.info is not None
    names = extxyz.label_names(frame)
    path.write_text(extxyz.render(frame, {"energy": 1.0}, {"forces": ("R", frame.positions)}, names))
    (again,) = extxyz.read(path)
    assert extxyz.frame_id(again) == extxyz.frame_id(frame)
    assert extxyz.labels(again)["forces"] == frame.positions


def test_a_bare_word_named_as_a_key_that_is_set(tmp_path: Path) -> None:
    """What a random cut made: both are replaced by what is set, or nobody could read the frame."""
    use(tmp_path, b"1\nProperties=species:S:1:pos:R:3 energy charge=1 energy=-1.5 energy\nH 0 0 0\n")


def test_the_whole_file_is_good(tmp_path: Path) -> None:
    (tmp_path / "data.xyz").write_bytes(WHOLE)
    assert len(list(extxyz.read(tmp_path / "data.xyz"))) == 3
    use(tmp_path, WHOLE)


@FUZZ
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_flipped_bytes(tmp_path: Path, flips: list[tuple[int, int]]) -> None:
    data = bytearray(WHOLE)
    for at, byte in flips:
        data[at] = byte
    use(tmp_path, bytes(data))


@FUZZ
@given(
    st.integers(0, len(WHOLE)),
    st.integers(0, len(WHOLE)),
    st.sampled_from(["\n", " ", '"', "[", "=", "\\", "9" * 30, "é", ""]),
)
def test_cut_and_pasted(tmp_path: Path, start: int, end: int, between: str) -> None:
    use(tmp_path, WHOLE[:start] + between.encode() + WHOLE[end:])


@FUZZ
@given(st.binary(max_size=200))
def test_any_bytes(tmp_path: Path, data: bytes) -> None:
    use(tmp_path, data)


@FUZZ
@given(st.text("abT1 ='\"\\{}[],_.\u00e9\t", max_size=40))
def test_any_comment(tmp_path: Path, comment: str) -> None:
    use(tmp_path, f"1\n{comment}\nH 0 0 0\n".encode())
    use(tmp_path, f"1\nProperties=species:S:1:pos:R:3 {comment}\nH 0 0 0\n".encode())


@pytest.mark.parametrize("position", range(0, len(PACKED), 5))
def test_a_damaged_gzip_file(tmp_path: Path, position: int) -> None:
    data = bytearray(PACKED)
    data[position] ^= 0x41
    use(tmp_path, bytes(data))


@pytest.mark.parametrize(
    "piece", ['"', "'", "[", "{", "\\", "a=", "=", 'a="', "a=b\\", "a ", "[[", '\\"', "x'y ", 'k="v"']
)
def test_a_long_comment_takes_no_time(tmp_path: Path, piece: str) -> None:
    start = time.process_time()
    use(tmp_path, f"1\nProperties=species:S:1:pos:R:3 {piece * 20000}\nH 0 0 0\n".encode())
    use(tmp_path, f"1\n{piece * 20000}\nH 0 0 0\n".encode())
    assert time.process_time() - start < 5
