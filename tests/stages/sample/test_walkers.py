"""The walkers of a run at their starts: fixed atoms, masses, and what no walker can start from."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from psiflow_cli.errors import BadData, UsageError
from psiflow_cli.extxyz.reader import read
from psiflow_cli.stages.sample import walkers

LATTICE = 'Lattice="9.0 0.0 0.0 0.0 9.0 0.0 0.0 0.0 9.0"'


def starts(folder: Path, columns: str, rows: list[str], lattice: str = LATTICE, **settings: Any) -> Any:
    """Two walkers of a frame of hydrogen atoms on a line, each with these further columns."""
    path = folder / "start.xyz"
    comment = f"{lattice} Properties=species:S:1:pos:R:3{columns}"
    atoms = [f"H {n} 0 0 {row}" for n, row in enumerate(rows)]
    path.write_text("\n".join([str(len(rows)), comment, *atoms]) + "\n")
    given = {"ensemble": "nvt", "fixed": [], "masses": {}, "exchange": None, **settings}
    model = SimpleNamespace(elements=["H"], is_foreign=False, path="m.model")
    sampling: Any = SimpleNamespace(
        dynamics=given, conditions=[{"temperature": [300.0, 300.0]}], walkers=2, model=model, continued=None
    )
    workspace: Any = SimpleNamespace(frames=lambda: read(path))
    return walkers.starts(sampling, workspace)


def test_fixed_atoms_come_from_the_frame_and_from_the_file(tmp_path: Path) -> None:
    first, second = starts(tmp_path, ":move_mask:L:1", ["T", "F", "T", "T"], fixed=[3])
    assert first.start["fixed"] == second.start["fixed"] == [1, 3]
    assert [first.number, second.number] == [0, 1]
    assert "fixed" not in starts(tmp_path, ":move_mask:L:3", ["T T T"] * 2)[0].start
    assert starts(tmp_path, ":move_mask:L:3", ["F F F", "T T T"])[0].start["fixed"] == [0]


@pytest.mark.parametrize("ensemble", ["npt", "nvst"])
def test_fixed_atoms_are_refused_where_the_cell_moves(tmp_path: Path, ensemble: str) -> None:
    assert len(starts(tmp_path, "", ["", ""], ensemble=ensemble)) == 2
    with pytest.raises(BadData, match=rf"frame 1.*fixed atoms, but {ensemble} changes the cell"):
        starts(tmp_path, ":move_mask:L:1", ["T", "F"], ensemble=ensemble)
    with pytest.raises(BadData, match="not periodic in three directions"):
        starts(tmp_path, "", ["", ""], lattice="", ensemble=ensemble)


@pytest.mark.parametrize(
    ("columns", "rows", "settings", "error", "said"),
    [
        (":move_mask:L:1", ["F", "F"], {}, BadData, "all of its atoms are fixed"),
        (":move_mask:L:3", ["T F T", "T T T"], {}, BadData, "atom 0 is fixed in some directions only"),
        ("", ["", ""], {"fixed": [2]}, UsageError, "there is no atom 2 to fix"),
        (":masses:R:1", ["1.0", "0.0"], {}, BadData, "atom 1 has a mass of 0.0 u"),
        (":masses:R:1", ["-2.0", "1.0"], {}, BadData, "atom 0 has a mass of -2.0 u"),
    ],
)
def test_what_no_walker_can_start_from(
    tmp_path: Path, columns: str, rows: list[str], settings: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        starts(tmp_path, columns, rows, **settings)


def test_masses_of_a_frame_win_over_those_of_elements(tmp_path: Path) -> None:
    assert starts(tmp_path, "", [""], masses={"H": 2.0, "O": 18.0})[0].start["masses"] == {"H": 2.0}
    assert starts(tmp_path, ":masses:R:1", ["3.0"], masses={"H": 2.0})[0].start["masses"] == [3.0]
    assert "masses" not in starts(tmp_path, "", [""])[0].start
