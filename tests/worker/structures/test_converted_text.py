"""The frames that `convert` writes, read back with ASE; numbers are written as everywhere in psiflow."""

from __future__ import annotations

import io
from typing import Any

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("ase")

from ase.io import read  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from psiflow_cli import extxyz  # noqa: E402
from psiflow_cli.worker.structures.convert import frame_text  # noqa: E402


def back(text: str) -> Any:
    (atoms,) = read(io.StringIO(text), ":", format="extxyz")
    return atoms


FLOATS = st.floats(allow_nan=False, allow_infinity=False)
WORDS = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.tuples(FLOATS, FLOATS, FLOATS), min_size=1, max_size=4),
    st.none() | st.lists(st.tuples(FLOATS, FLOATS, FLOATS), min_size=3, max_size=3),
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
    FLOATS,
)
def test_every_float_comes_back_bit_for_bit(positions: Any, cell: Any, pbc: Any, energy: float) -> None:
    atoms = back(frame_text(["H"] * len(positions), positions, cell, pbc, {"model_energy": energy}))
    assert atoms.positions.tobytes() == np.array(positions).tobytes()
    assert atoms.cell.array.tobytes() == np.array(cell if cell is not None else np.zeros((3, 3))).tobytes()
    assert tuple(atoms.pbc) == pbc
    assert atoms.info["model_energy"] == energy


def test_info_and_columns_come_back_in_kind() -> None:
    info = {
        "n": 3,
        "flag": True,
        "word": "bulk",
        "text": 'he said "no = yes", a\\b [c] {d}',
        "vector": [1.5, -2.0],
        "odd key": 1,
    }
    columns = {
        "forces": [[1.0, 2.0, 3e-300], [0.1, 0.2, 0.3]],
        "tag": [1, 2],
        "name": ["a", "b'"],
        "fixed": [True, False],
        "weight": [0.5, -0.5],
    }
    atoms = back(frame_text(["H", "O"], [[0, 0, 0], [0, 0, 1]], None, [False] * 3, info, columns))
    assert atoms.info["n"] == 3
    assert atoms.info["flag"] is np.True_ or atoms.info["flag"] is True
    assert atoms.info["word"] == "bulk"
    assert atoms.info["text"] == info["text"]
    assert atoms.info["vector"].tolist() == [1.5, -2.0]
    assert atoms.info["odd key"] == 1
    assert atoms.get_forces().tolist() == columns["forces"]
    assert atoms.arrays["tag"].tolist() == [1, 2]
    assert atoms.arrays["name"].tolist() == ["a", "b'"]
    assert atoms.arrays["fixed"].tolist() == [True, False]
    assert atoms.arrays["weight"].tolist() == [0.5, -0.5]


def test_the_text_of_a_frame() -> None:
    text = frame_text(["He"], [[0.1, 2, -3.5]], [[4, 0, 0], [0, 5, 0], [1, 0, 6]], [True, True, False], {"step": 5})
    assert text == (
        '1\nLattice="4.0 0.0 0.0 0.0 5.0 0.0 1.0 0.0 6.0" Properties=species:S:1:pos:R:3 step=5 pbc="T T F"\n'
        "He 0.1 2.0 -3.5\n"
    )


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(FLOATS, FLOATS, FLOATS, FLOATS), min_size=1, max_size=4),
    st.none() | st.lists(st.tuples(FLOATS, FLOATS, FLOATS), min_size=3, max_size=3),
    st.dictionaries(st.sampled_from(("step", "time", "energy")), FLOATS | st.integers() | st.booleans()),
)
def test_numbers_are_written_as_those_who_have_this_package_write_them(rows: Any, cell: Any, info: Any) -> None:
    positions, weights = [row[:3] for row in rows], [row[3] for row in rows]
    atoms = ["He"] * len(rows), positions, cell, [True, False, True], info
    assert frame_text(*atoms, {"w": weights}) == extxyz.new_frame(*atoms, {"w": ("R", weights)})
