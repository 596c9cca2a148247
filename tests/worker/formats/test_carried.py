"""What comes along from other formats: constraints, labels, columns; what does not is refused, or named in one line."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("ase")

from ase import Atoms, constraints  # noqa: E402
from ase.build import bulk, molecule  # noqa: E402
from ase.calculators.emt import EMT  # noqa: E402
from ase.calculators.singlepoint import SinglePointCalculator  # noqa: E402
from ase.db import connect  # noqa: E402
from ase.io import write  # noqa: E402

from psiflow_cli import extxyz  # noqa: E402
from psiflow_cli.errors import BadData  # noqa: E402
from psiflow_cli.stages.core.constraints import fixed  # noqa: E402
from psiflow_cli.worker.formats.convert import NOTE, main  # noqa: E402

Read = Callable[[Path], tuple[list[extxyz.Frame], str]]


@pytest.fixture
def read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Read:
    """The frames of a file in another format, and what is said on stderr; [] for what is refused."""

    def frames(path: Path) -> tuple[list[extxyz.Frame], str]:
        code = main([str(path)])
        out, err = capsys.readouterr()
        assert code == (65 if err and not err.startswith(NOTE) else 0)
        (tmp_path / "out.xyz").write_text(out)
        return (list(extxyz.read(tmp_path / "out.xyz")) if code == 0 else []), err

    return frames


def cubic() -> Atoms:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=3)
    return atoms


F, T = [False] * 3, [True] * 3
HELD = [
    (constraints.FixAtoms([0, 2]), [False, True, False, True]),
    (constraints.FixCartesian([1], [True, False, False]), [T, [False, True, True], T, T]),
    (constraints.FixCartesian([1], [True, True, True]), [True, False, True, True]),
    (constraints.FixScaled([3], [False, False, True]), [T, T, T, [True, True, False]]),
    (constraints.FixedPlane([0], [0, 0, 1]), [[True, True, False], T, T, T]),
    (constraints.FixedLine([0, 1], [0, 1, 0]), [[False, True, False]] * 2 + [T, T]),
]
NAMED = [
    constraints.FixBondLengths([[0, 1]]),
    constraints.FixCom(),
    constraints.Hookean(0, 1, 5.0, rt=2.0),
    constraints.FixInternals(bonds=[[2.5, [0, 1]]]),
    constraints.FixedPlane([0], [1, 1, 0]),
]


@pytest.mark.parametrize(("constraint", "mask"), HELD, ids=lambda x: type(x).__name__)
def test_what_move_mask_can_say(read: Read, tmp_path: Path, constraint: Any, mask: list[Any]) -> None:
    atoms = cubic()
    atoms.set_constraint(constraint)
    write(tmp_path / "x.traj", atoms)
    ((frame,), said) = read(tmp_path / "x.traj")
    assert said == ""
    assert frame.column("move_mask") == mask
    if isinstance(mask[0], bool):
        assert fixed(frame) == [index for index, moves in enumerate(mask) if not moves]
    else:
        with pytest.raises(BadData, match="in some directions only"):
            fixed(frame)


@pytest.mark.parametrize("constraint", NAMED, ids=lambda x: type(x).__name__)
def test_what_it_cannot_say_is_refused_by_name_where_atoms_move(read: Read, tmp_path: Path, constraint: Any) -> None:
    atoms = cubic()
    atoms.set_constraint([constraints.FixAtoms([3]), constraint])
    write(tmp_path / "x.traj", atoms)
    ((frame,), _) = read(tmp_path / "x.traj")
    assert frame.column("move_mask") == [True, True, True, False]
    with pytest.raises(BadData, match=f"constraints not supported: {type(constraint).__name__}"):
        fixed(frame)


def test_scaled_directions_of_a_skew_cell_are_no_cartesian_ones(read: Read, tmp_path: Path) -> None:
    atoms = bulk("Cu")
    write(tmp_path / "POSCAR", atoms, direct=True)
    text = (tmp_path / "POSCAR").read_text().replace("Direct\n", "Selective dynamics\nDirect\n")
    (tmp_path / "POSCAR").write_text(text.rstrip() + " T T F\n")
    ((frame,), _) = read(tmp_path / "POSCAR")
    with pytest.raises(BadData, match="FixScaled"):
        fixed(frame)


def test_a_mask_that_is_no_flag_is_refused(tmp_path: Path) -> None:
    """`F` as text would be true."""
    path = tmp_path / "x.xyz"
    path.write_text("1\nProperties=species:S:1:pos:R:3:move_mask:S:1\nH 0 0 0 F\n")
    (frame,) = extxyz.read(path)
    with pytest.raises(BadData, match="move_mask is S:1"):
        fixed(frame)


@pytest.mark.parametrize("name", ["x.traj", "x.db", "x.json", "x.traj.gz", "x.extxyz.bz2"])
def test_labels_are_raw_whatever_is_held(read: Read, tmp_path: Path, name: str) -> None:
    atoms = cubic()
    atoms.calc = EMT()
    energy, forces, stress = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
    atoms.set_constraint(constraints.FixAtoms([0, 1]))
    atoms.set_momenta([[1.0, 2.0, 3.0]] * 4, apply_constraint=False)
    atoms.set_tags([1, 2, 3, 4])
    atoms.set_masses([62.93, 64.93, 63.5, 63.5])
    atoms.set_initial_charges([1.0, -1.0, 0.0, 0.0])
    atoms.calc = SinglePointCalculator(atoms, energy=energy, free_energy=energy, forces=forces, stress=stress)
    write(tmp_path / name, [atoms, atoms])
    (frames, said) = read(tmp_path / name)
    assert said == ""
    assert len(frames) == 2
    for frame in frames:
        assert frame.column("forces") == pytest.approx(forces, abs=1e-7)
        assert np.abs(frame.column("forces")[0]).max() > 0.1
        assert frame.info["energy"] == pytest.approx(energy, abs=1e-7)
        assert extxyz.labels(frame)["stress"] == pytest.approx(stress, abs=1e-7)
        assert fixed(frame) == [0, 1]
        assert frame.column("momenta") == pytest.approx(np.array([[1.0, 2.0, 3.0]] * 4), abs=1e-7)
        assert frame.column("tags") == [1, 2, 3, 4]
        assert frame.column("masses") == [62.93, 64.93, 63.5, 63.5]
        assert frame.column("initial_charges") == [1.0, -1.0, 0.0, 0.0]


def test_the_energy_that_forces_do_not_belong_to_is_named(read: Read, tmp_path: Path) -> None:
    """Of VASP, ASE's energy is that for no smearing; the forces are those of the free energy."""
    atoms = cubic()
    atoms.calc = SinglePointCalculator(atoms, energy=-14.0, free_energy=-14.2, forces=np.zeros((4, 3)))
    write(tmp_path / "x.traj", [atoms])
    ((frame,), said) = read(tmp_path / "x.traj")
    assert said.startswith(
        f"{NOTE}free_energy, which the forces belong to, differs from energy in 1 frame, by up to 50 "
    )
    assert extxyz.labels(frame, {"energy": "free_energy"})["energy"] == -14.2


def test_what_is_left_behind_is_named(read: Read, tmp_path: Path) -> None:
    atoms = cubic()
    atoms.info |= {"settings": {"xc": "PBE"}, "kept": 1.5, "text": "123"}
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0)
    atoms.calc.results["dielectric_tensor"] = np.eye(3)
    write(tmp_path / "x.traj", [atoms, cubic()])
    (frames, said) = read(tmp_path / "x.traj")
    assert said == f"{NOTE}not carried over: dielectric_tensor, settings (in 1 of 2 frames)\n"
    assert frames[0].info == {"kept": 1.5, "text": "123", "energy": -1.0}


def test_a_database_keeps_what_stands_beside_its_structures(read: Read, tmp_path: Path) -> None:
    with connect(tmp_path / "x.db") as database:
        database.write(cubic(), key_value_pairs={"config_type": "bulk", "k": 3}, data={"v": [1, 2], "o": {"a": 1}})
    ((frame,), said) = read(tmp_path / "x.db")
    assert (frame.info["config_type"], frame.info["k"], frame.info["v"]) == ("bulk", 3, [1, 2])
    assert "not carried over: o " in said


def test_dummies_are_refused(read: Read, tmp_path: Path) -> None:
    write(tmp_path / "x.traj", Atoms("HX", [[0, 0, 0], [0, 0, 1]]))
    assert "atom 2 has no element (X)" in read(tmp_path / "x.traj")[1]


def test_lammps_data_say_elements_and_units_or_nothing_is_made_up(read: Read, tmp_path: Path) -> None:
    atoms = cubic()
    atoms.set_velocities(np.full((4, 3), 0.01))
    made = io.StringIO()
    write(made, atoms, format="lammps-data", masses=True, velocities=True)
    text = made.getvalue().split("\n", 1)[1]
    path = tmp_path / "x.data"

    def of(content: str) -> tuple[list[extxyz.Frame], str]:
        path.write_text(content)
        return read(path)

    ((frame,), said) = of("LAMMPS data file, units = metal\n" + text)
    assert frame.symbols == ["Cu"] * 4
    assert frame.column("momenta") == pytest.approx(atoms.get_momenta(), rel=1e-6)
    assert "read as periodic" in said
    ((frame,), said) = of("LAMMPS data file\n" + text)
    assert frame.layout.find("momenta") is None, "in metal, or a thousand times as fast"
    assert "not carried over: velocities" in said
    assert "lengths are read as Å" in said
    assert "its LAMMPS units are lj" in of("LAMMPS data file, units = lj\n" + text)[1]
    assert "a mass of 72" in of("x\n" + text.replace("63.54", "72.04"))[1]
    made = io.StringIO()
    write(made, atoms, format="lammps-data")
    assert "it has no Masses" in of(made.getvalue())[1]


DUMP = """ITEM: TIMESTEP
0
ITEM: NUMBER OF ATOMS
2
ITEM: BOX BOUNDS pp pp ff
0 10
0 10
0 10
ITEM: ATOMS id type element x y z vx vy vz fx fy fz
1 1 O 0 0 0 1 0 0 1 2 3
2 2 H 0 0 1 1 0 0 1 2 3
"""


def test_a_dump_has_forces_of_known_units_only_and_no_energy(read: Read, tmp_path: Path) -> None:
    path = tmp_path / "x.lammpstrj"
    path.write_text(2 * DUMP)
    ((frame, _), said) = read(path)
    assert (frame.symbols, frame.pbc) == (["O", "H"], [True, True, False])
    assert frame.properties[2:] == [("type", "I", 1)]
    assert "energy" not in frame.info
    assert "not carried over: forces, velocities (in 2 of 2 frames)" in said
    path.write_text("ITEM: UNITS\nmetal\n" + DUMP)
    ((frame,), said) = read(path)
    assert "energy" not in frame.info, "ASE makes one up"
    assert frame.column("forces") == [[1.0, 2.0, 3.0]] * 2
    path.write_text(DUMP.replace(" element", "").replace(" O", "").replace(" H", ""))
    assert "no element column" in read(path)[1]


PDB = "ATOM      1 {} {} A   1       1.000   2.000   3.000{}  0.00          {}\nEND\n"


@pytest.mark.parametrize(
    ("atom", "residue", "occupancy", "element", "species"),
    [
        (" CA ", "ALA", "  1.00", " C", "C"),
        (" C  ", "ALA", "  1.00", "", "C"),
        ("CA  ", " CA", "  1.00", "", "Ca"),
        (" CA ", "ALA", "  1.00", "", ""),
        (" CA ", "ALA", "  0.50", " C", ""),
    ],
)
def test_elements_and_occupancies_of_pdb(
    read: Read, tmp_path: Path, atom: str, residue: str, occupancy: str, element: str, species: str
) -> None:
    """ASE takes a carbon `CA` for calcium where the column of the elements is empty."""
    unit = "CRYST1    1.000    1.000    1.000  90.00  90.00  90.00 P 1           1\n"
    (tmp_path / "x.pdb").write_text(unit + PDB.format(atom, residue, occupancy, element))
    (frames, said) = read(tmp_path / "x.pdb")
    assert [frame.symbols for frame in frames] == ([[species]] if species else [])
    if frames:
        assert frames[0].cell is None, "a cell of 1 Å stands for none"
    else:
        assert "may not be Ca" in said or "partial occupancy" in said


def test_ions_of_gromacs_are_not_taken_for_other_elements(read: Read, tmp_path: Path) -> None:
    path = tmp_path / "x.gro"
    path.write_text("x\n    1\n    1SOL     OW    1   0.500   0.200   0.300\n   1.00000   1.00000   1.00000\n")
    ((frame,), _) = read(path)
    assert (frame.symbols, frame.positions) == (["O"], [[5.0, 2.0, 3.0]])
    path.write_text(path.read_text().replace("1SOL     OW", "1NA      NA"))
    assert "the atom NA of NA may not be N" in read(path)[1]


def test_fixed_atoms_of_cp2k_are_named(read: Read, tmp_path: Path) -> None:
    text = "&FORCE_EVAL\n&SUBSYS\n&CELL\nA 9 0 0\nB 0 9 0\nC 0 0 9\n&END CELL\n&COORD\nH 0 0 0\nH 0 0 1\n&END COORD\n"
    held = "&MOTION\n&CONSTRAINT\n&FIXED_ATOMS\nLIST 1\n&END FIXED_ATOMS\n&END CONSTRAINT\n&END MOTION\n"
    (tmp_path / "x.restart").write_text(held + text + "&END SUBSYS\n&END FORCE_EVAL\n")
    ((frame,), said) = read(tmp_path / "x.restart")
    assert said == ""
    with pytest.raises(BadData, match="FIXED_ATOMS"):
        fixed(frame)


def test_packed_files_in_any_case(read: Read, tmp_path: Path) -> None:
    write(tmp_path / "x.xsf", [molecule("H2O", cell=[9, 9, 9], pbc=True)] * 2)
    (tmp_path / "X.XSF.GZ").write_bytes(gzip.compress((tmp_path / "x.xsf").read_bytes()))
    assert [frame.symbols for frame in read(tmp_path / "X.XSF.GZ")[0]] == [["O", "H", "H"]] * 2
