"""The velocities of a frame: which columns have them, in which units, and what contradicts itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from psiflow_cli import extxyz
from psiflow_cli.errors import BadData
from psiflow_cli.extxyz.velocities import FEMTOSECOND, velocities

V = 0.01  # sqrt(eV/u)
COLUMNS = {
    "momenta": f"{16 * V} 0 0",
    "velocities": f"{V} 0 0",
    "vel": f"{V * FEMTOSECOND} 0 0",
    "velo": f"{V * FEMTOSECOND} 0 0",
}


def frame(tmp_path: Path, **columns: str) -> extxyz.Frame:
    names = "".join(f":{name}:R:{len(text.split())}" for name, text in columns.items())
    file = tmp_path / "a.xyz"
    file.write_text(f"1\nProperties=species:S:1:pos:R:3{names}\nO 0 0 0 {' '.join(columns.values())}\n")
    (only,) = extxyz.read(file)
    return only


def test_the_unit_of_time_is_that_of_ase() -> None:
    units = pytest.importorskip("ase.units")
    assert pytest.approx(units.fs, rel=1e-12) == FEMTOSECOND


@pytest.mark.parametrize("name", list(COLUMNS))
def test_each_name_has_its_unit(tmp_path: Path, name: str) -> None:
    found, ((x, y, z),) = velocities(frame(tmp_path, **{name: COLUMNS[name]}))
    assert (found, y, z) == (name, 0.0, 0.0)
    assert x == pytest.approx(16 * V if name == "momenta" else V)


def test_two_that_agree_are_one_and_zeros_are_none(tmp_path: Path) -> None:
    assert velocities(frame(tmp_path, **COLUMNS))[0] == "momenta"
    assert velocities(frame(tmp_path, momenta="0 0 0", vel=COLUMNS["vel"]))[0] == "vel"
    assert velocities(frame(tmp_path, momenta="0 0 0")) == velocities(frame(tmp_path)) == ("", [])


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ({**COLUMNS, "velo": COLUMNS["velocities"]}, "momenta and velo differ"),
        ({"momenta": COLUMNS["momenta"], "velocities": COLUMNS["vel"]}, "momenta and velocities differ"),
        ({"velocities": COLUMNS["velocities"], "vel": f"0 {V * FEMTOSECOND} 0"}, "velocities and vel differ"),
        ({"momenta": "0.1 0 0", "masses": "2.0", "velocities": "0.1 0 0"}, "momenta and velocities differ"),
        ({"vel": "0.1"}, "vel is not a column of vectors"),
        ({"velo": "0.1 nan 0"}, "velo is not finite"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, columns: dict[str, str], what: str) -> None:
    with pytest.raises(BadData, match=what):
        velocities(frame(tmp_path, **columns))
