"""Trajectories in ASE's other formats, against what ASE reads back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("ase")

from ase.io import read  # noqa: E402
from ase.io.trajectory import Trajectory  # noqa: E402

from psiflow_cli import extxyz  # noqa: E402
from psiflow_cli.worker.formats.convert import __file__ as convert_file  # noqa: E402
from psiflow_cli.worker.formats.convert import main  # noqa: E402

FORMATS = {".traj": "traj", ".cif": "cif", ".pdb": "proteindatabank", "XDATCAR": "vasp-xdatcar"}


EVERYTHING = """2
Lattice="4.5 0 0 0.5 5 0 0 0 6" Properties=species:S:1:pos:R:3:forces:R:3:move_mask:L:3:momenta:R:3:tags:I:1\
:initial_magmoms:R:1:magmoms:R:1:initial_charges:R:1:charges:R:1:masses:R:1:model_forces:R:3:name:S:1:flag:L:1 \
energy=-1.25 free_energy=-1.5 stress="1 2 3 2 5 6 3 6 9" dipole="1 2 3" magmom=2.5 psiflow_id="_JSON \\"0123\\"" \
psiflow_reference=00e1ff failure_message="x: \\"y\\" = [z]" matrix="1 2 3 4 5 6 7 8 9" few="1.5 2" flag=T \
nested="_JSON [1, [2, 3]]" virial="1 2 3 4 5 6 7 8 9" charge=-1 config_type=bulk pbc="T T F"
H 0.1 0.123456789012345 0 1 2 3 F F F 0.1 0 0 1 0.5 0.25 0.125 -0.5 2.014 9 8 7 aa T
Cu 0 1.8 1.8 4 5 6 T F T 0.2 0 0.5 2 -0.5 -0.25 -0.125 0.5 65.0 6 5 4 bb F
""".replace("\\\n", "")


def molecule(*symbols: str) -> str:
    return extxyz.new_frame(symbols, [[float(i), 0.0, 0.0] for i in range(len(symbols))], None, [False] * 3)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Five frames whose cell and atoms move."""
    frames = []
    for index in range(5):
        side = 4.0 + 0.125 * index
        cell = [[side, 0.0, 0.0], [0.0, side, 0.0], [0.0, 0.0, side]]
        positions = [[0.1 * index, 0.0, 0.0], [1.0, 0.9 + 0.1 * index, 0.5], [2.0, 2.0, 3.9]]
        info = {"walker": 1, "step": 10 * index, "temperature": 300.1 + index, "model_energy": -1.0 / 3.0}
        columns = {"model_forces_std": ("R", [0.1, 0.2, 0.3 + index])}
        frames.append(extxyz.new_frame(["O", "H", "Cu"], positions, cell, [True] * 3, info, columns))
    path = tmp_path / "source.xyz"
    path.write_text("".join(frames))
    return path


def written(source: Path, ending: str) -> Path:
    path = source.with_name(f"made{ending}" if ending.startswith(".") else "XDATCAR")
    assert main([str(source), FORMATS[ending], str(path)]) == 0
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


def test_what_a_model_predicted_is_no_label(source: Path) -> None:
    given: list[Any] = read(source, ":")
    found: list[Any] = read(written(source, ".traj"), ":")
    for a, b in zip(given, found, strict=True):
        assert (b.positions == a.positions).all()
        assert (b.cell.array == a.cell.array).all()
        assert b.info.pop("psiflow_columns")["model_forces_std"].tolist() == a.arrays["model_forces_std"].tolist()
        assert b.info == a.info
        assert b.calc is None, "a prediction is no label"


@pytest.mark.parametrize("ending", sorted(FORMATS))
def test_no_frames_are_an_empty_trajectory(tmp_path: Path, ending: str) -> None:
    """As where every walker was stopped before its first frame."""
    (tmp_path / "source.xyz").write_text("")
    made = written(tmp_path / "source.xyz", ending)
    assert made.stat().st_size == 0 or len(Trajectory(made)) == 0


def test_walkers_of_different_substances(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """ASE would cut the second molecule to the size of the first one."""
    path = tmp_path / "source.xyz"
    path.write_text(molecule("H") + molecule("O", "H"))
    assert main([str(path), "proteindatabank", str(tmp_path / "made.pdb")]) == 65
    assert "PDB file must have the same atoms" in capsys.readouterr().err
    assert main([str(path), "traj", str(tmp_path / "made.traj")]) == 0
    assert [len(atoms) for atoms in read(tmp_path / "made.traj", ":")] == [1, 2]


def test_what_a_format_cannot_hold_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "source.xyz"
    path.write_text(molecule("H"))
    assert main([str(path), "vasp-xdatcar", str(tmp_path / "XDATCAR")]) == 65
    assert "XDATCAR has positions relative to a cell" in capsys.readouterr().err
    path.write_text(2 * molecule("H"))
    assert main([str(path), "vasp", str(tmp_path / "POSCAR")]) == 65
    assert "holds one frame" in capsys.readouterr().err


def test_a_trajectory_comes_back_as_it_was(tmp_path: Path) -> None:
    """Every value that extended XYZ holds goes into .traj and back: ASE finds labels and constraints where it looks."""
    path = tmp_path / "all.xyz"
    path.write_text(EVERYTHING)
    assert main([str(path), "traj", str(tmp_path / "all.traj")]) == 0
    atoms: Any = read(tmp_path / "all.traj")
    assert (atoms.get_potential_energy(), atoms.calc.results["free_energy"]) == (-1.25, -1.5)
    assert atoms.get_stress().tolist() == [1, 5, 9, 6, 3, 2]
    assert atoms.get_forces(apply_constraint=False).tolist() == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    assert atoms.get_forces().tolist() == [[0.0, 0.0, 0.0], [4.0, 0.0, 6.0]]
    assert atoms.get_masses().tolist() == [2.014, 65.0]
    assert atoms.get_momenta().tolist() == [[0.1, 0.0, 0.0], [0.2, 0.0, 0.5]]
    done = subprocess.run([sys.executable, convert_file, tmp_path / "all.traj"], capture_output=True, text=True)
    assert done.stderr.count("\n") == 1
    assert "free_energy, which the forces belong to, differs from energy in 1 frame, by up to 125 meV" in done.stderr
    (tmp_path / "back.xyz").write_text(done.stdout)
    (before,), (after,) = (list(extxyz.read(name)) for name in (path, tmp_path / "back.xyz"))
    assert after.info == before.info
    assert (after.symbols, after.positions, after.cell, after.pbc) == (
        before.symbols, before.positions, before.cell, before.pbc,
    )  # fmt: skip
    for name, kind, size in before.properties:
        assert after.column(name) == before.column(name), name
        assert (name, kind, size) in after.properties
