"""Trajectories in ASE's other formats, against what ASE reads back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("ase")

from ase.io import read  # noqa: E402
from ase.io.trajectory import Trajectory  # noqa: E402

from psiflow_cli.stages.sample.outputs import FORMATS  # noqa: E402
from psiflow_cli.worker.failures import Fatal  # noqa: E402
from psiflow_cli.worker.structures.ase_writer import rewrite  # noqa: E402
from psiflow_cli.worker.structures.convert import frame_text  # noqa: E402


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Five frames whose cell and atoms move."""
    frames = []
    for index in range(5):
        side = 4.0 + 0.125 * index
        cell = [[side, 0.0, 0.0], [0.0, side, 0.0], [0.0, 0.0, side]]
        positions = [[0.1 * index, 0.0, 0.0], [1.0, 0.9 + 0.1 * index, 0.5], [2.0, 2.0, 3.9]]
        info = {"walker": 1, "step": 10 * index, "temperature": 300.1 + index, "model_energy": -1.0 / 3.0}
        columns = {"model_forces_std": [0.1, 0.2, 0.3 + index]}
        frames.append(frame_text(["O", "H", "Cu"], positions, cell, [True] * 3, info, columns))
    path = tmp_path / "source.xyz"
    path.write_text("".join(frames))
    return path


def written(source: Path, ending: str) -> Path:
    path = source.with_name(f"made{ending}" if ending.startswith(".") else "XDATCAR")
    rewrite(str(source), FORMATS[ending], str(path))
    return path


@pytest.mark.parametrize("ending", sorted(FORMATS))
def test_ase_reads_the_same_structures(source: Path, ending: str) -> None:
    made = written(source, ending)
    given: list[Any] = read(source, ":")
    found: list[Any] = read(made, ":")
    assert len(found) == len(given) == 5
    for a, b in zip(given, found, strict=True):
        assert b.get_chemical_symbols() == a.get_chemical_symbols()
        assert b.cell.cellpar() == pytest.approx(a.cell.cellpar(), abs=1e-3)
        away = b.get_all_distances(mic=True) - a.get_all_distances(mic=True)
        assert np.abs(away).max() < 2e-3  # .pdb has three digits
    first = made.read_bytes()
    assert written(source, ending).read_bytes() == first, "equal frames must make equal bytes"


def test_traj_holds_every_number_of_a_frame_and_no_label(source: Path) -> None:
    given: list[Any] = read(source, ":")
    found: list[Any] = read(written(source, ".traj"), ":")
    for a, b in zip(given, found, strict=True):
        assert (b.positions == a.positions).all()
        assert (b.cell.array == a.cell.array).all()
        assert b.info == a.info
        assert b.calc is None, "a prediction is no label"


@pytest.mark.parametrize("ending", sorted(FORMATS))
def test_no_frames_are_an_empty_trajectory(tmp_path: Path, ending: str) -> None:
    """As where every walker was stopped before its first frame."""
    (tmp_path / "source.xyz").write_text("")
    made = written(tmp_path / "source.xyz", ending)
    assert made.stat().st_size == 0 or len(Trajectory(made)) == 0


def test_walkers_of_different_substances(tmp_path: Path) -> None:
    """ASE would cut the second molecule to the size of the first one."""
    path = tmp_path / "source.xyz"
    small = frame_text(["H"], [[0.0] * 3], None, [False] * 3, {})
    path.write_text(small + frame_text(["O", "H"], [[0.0] * 3, [1.0, 0.0, 0.0]], None, [False] * 3, {}))
    with pytest.raises(Fatal, match="PDB file must have the same atoms") as caught:
        rewrite(str(path), "proteindatabank", str(tmp_path / "made.pdb"))
    assert ".xyz" in caught.value.hint
    rewrite(str(path), "traj", str(tmp_path / "made.traj"))
    assert [len(atoms) for atoms in read(tmp_path / "made.traj", ":")] == [1, 2]


def test_what_a_format_cannot_hold_is_said(tmp_path: Path) -> None:
    path = tmp_path / "source.xyz"
    path.write_text(frame_text(["H"], [[0.0] * 3], None, [False] * 3, {}))
    with pytest.raises(Fatal, match="cannot be written as vasp-xdatcar: XDATCAR has places relative to a cell"):
        rewrite(str(path), "vasp-xdatcar", str(tmp_path / "XDATCAR"))
