"""Other formats as extended XYZ, against what ASE itself makes of them."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("ase")

from ase import Atoms  # noqa: E402
from ase.build import bulk  # noqa: E402
from ase.calculators.emt import EMT  # noqa: E402
from ase.calculators.singlepoint import SinglePointCalculator  # noqa: E402
from ase.constraints import FixAtoms  # noqa: E402
from ase.io import read, write  # noqa: E402

from psiflow_cli.worker.formats import convert as module  # noqa: E402
from tests import warm  # noqa: E402

CIF = """data_x
_cell_length_a 4
_cell_length_b 4
_cell_length_c 4
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Cu1 Cu 0 0 0 {first}
Cu2 Cu 0.5 0.5 0.5 1.0
"""


def convert(path: Path, *command: str) -> subprocess.CompletedProcess[str]:
    if command:
        return subprocess.run([sys.executable, *command, str(path)], capture_output=True, text=True)
    return warm.server().run(["-m", "psiflow_cli.worker.formats.convert", str(path)])


def converted(path: Path, folder: Path) -> list[Any]:
    done = convert(path)
    assert (done.returncode, done.stderr) == (0, "")
    (folder / "out.xyz").write_text(done.stdout)
    frames: list[Any] = read(folder / "out.xyz", ":", format="extxyz")
    return frames


def crystal() -> Any:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=3)
    return atoms


def same(one: Any, two: Any) -> bool:
    return bool(
        one.get_chemical_symbols() == two.get_chemical_symbols()
        and one.positions.tobytes() == two.positions.tobytes()
        and one.cell.array.tobytes() == two.cell.array.tobytes()
        and (one.pbc == two.pbc).all()
    )


@pytest.mark.parametrize("name", ["POSCAR", "x.cif", "x.traj", "x.json", "x.gen", "x.xsf", "x.cif.gz", "a@0,b c.cif"])
def test_a_structure_is_what_ase_reads(tmp_path: Path, name: str) -> None:
    write(tmp_path / "written", crystal(), format="vasp" if name == "POSCAR" else name.split(".")[1])
    content = (tmp_path / "written").read_bytes()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    (frame,) = converted(tmp_path / name, tmp_path)
    assert same(frame, read(tmp_path / name, do_not_split_by_at_sign=True))


def test_every_frame_of_a_trajectory_with_its_labels_bit_for_bit(tmp_path: Path) -> None:
    frames = []
    for step in range(3):
        atoms = crystal()
        atoms.rattle(0.05, seed=step)
        atoms.pbc = [True, True, step == 1]
        atoms.set_initial_magnetic_moments([0.5, 0, 0, -0.5])
        atoms.calc = EMT()
        energy, forces, stress = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces, stress=stress)
        atoms.set_constraint(FixAtoms([0]))  # hides forces from get_forces, not from us
        atoms.info.update(charge=-1, multiplicity=2, name='he said "a = b"', flag=True, vector=np.array([1.5, 2.5]))
        frames.append(atoms)
    write(tmp_path / "x.traj", frames)
    back = converted(tmp_path / "x.traj", tmp_path)
    assert len(back) == 3
    for before, after in zip(frames, back, strict=True):
        assert same(before, after)
        assert after.calc.results["energy"] == before.calc.results["energy"]
        assert (after.calc.results["forces"] == before.calc.results["forces"]).all()
        assert np.abs(after.calc.results["forces"][0]).max() > 0
        assert (after.calc.results["stress"] == before.calc.results["stress"]).all()
        assert (after.info["charge"], after.info["multiplicity"], after.info["flag"]) == (-1, 2, True)
        assert after.info["name"] == 'he said "a = b"'
        assert after.info["vector"].tolist() == [1.5, 2.5]
        assert after.get_initial_magnetic_moments().tolist() == [0.5, 0, 0, -0.5]


def test_stress_components_keep_their_places(tmp_path: Path) -> None:
    atoms = crystal()
    atoms.calc = SinglePointCalculator(atoms, energy=0.0, stress=np.arange(1.0, 7.0))
    write(tmp_path / "x.traj", atoms)
    assert 'stress="1.0 6.0 5.0 6.0 2.0 4.0 5.0 4.0 3.0"' in convert(tmp_path / "x.traj").stdout


def test_a_molecule_has_no_lattice(tmp_path: Path) -> None:
    write(tmp_path / "x.traj", Atoms("OH", [[0, 0, 0], [0, 0, 0.96]]))
    text = convert(tmp_path / "x.traj").stdout
    assert "Lattice" not in text
    assert 'pbc="F F F"' in text


def test_by_its_path_it_needs_nothing_of_this_package(tmp_path: Path) -> None:
    write(tmp_path / "POSCAR", crystal())
    (tmp_path / "frames.py").write_text("raise SystemExit('a stranger')")
    by_path = convert(tmp_path / "POSCAR", "-I", module.__file__)
    assert by_path.returncode == 0
    assert by_path.stdout == convert(tmp_path / "POSCAR").stdout != ""


@pytest.mark.parametrize(
    ("name", "content", "start"),
    [
        ("POSCAR", "nonsense\n", "cannot read as vasp:"),
        ("x.cif", "data_\nloop_\n_a", "cannot read as cif:"),
        ("x.traj", "not a trajectory", "cannot read as "),
        ("x.dat", "some text\n", "cannot read as "),
        ("empty.cif", "", "cannot read as cif: it contains no frames"),
        ("half.cif", CIF.format(first="0.5"), "cannot read as cif: frame 1: it has sites with partial occupancy"),
        (
            "groups.cif",
            CIF.replace("occupancy", "disorder_group").format(first="."),
            "cannot read as cif: it has sites with dis",
        ),
    ],
)
def test_what_cannot_be_read_is_one_line_and_65(tmp_path: Path, name: str, content: str, start: str) -> None:
    (tmp_path / name).write_text(content)
    done = convert(tmp_path / name)
    assert done.returncode == 65
    assert done.stdout == ""
    assert done.stderr.startswith(f"{tmp_path / name}: {start}")
    assert done.stderr.count("\n") == 1


def test_full_occupancy_is_no_disorder(tmp_path: Path) -> None:
    (tmp_path / "x.cif").write_text(CIF.format(first="1.0"))
    (frame,) = converted(tmp_path / "x.cif", tmp_path)
    assert len(frame) == 2


def test_two_energies_that_differ_are_refused(tmp_path: Path) -> None:
    atoms = crystal()
    atoms.info["energy"] = 1.0
    atoms.calc = SinglePointCalculator(atoms, energy=2.0)
    write(tmp_path / "x.traj", atoms)
    done = convert(tmp_path / "x.traj")
    assert done.returncode == 65
    assert "frame 1: energy has two different values" in done.stderr


@pytest.mark.parametrize("kind", ["missing", "folder"])
def test_what_is_no_file_is_66(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.traj"
    if kind == "folder":
        path.mkdir()
    done = convert(path)
    assert done.returncode == 66
    assert done.stderr.startswith(f"{path}: cannot read: ")
    assert done.stderr.count("\n") == 1


def test_a_full_disk_is_74(tmp_path: Path) -> None:
    write(tmp_path / "x.traj", crystal())
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "psiflow_cli.worker.formats.convert", str(tmp_path / "x.traj")],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.stderr.splitlines()[0] == f"{tmp_path / 'x.traj'}: cannot write its frames: No space left on device"
    assert done.returncode == 74
