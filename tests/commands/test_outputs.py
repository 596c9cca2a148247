"""A suffix is a promise: every option that names an output, of every command, writes what the name says or exits 2."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from psiflow_cli import extxyz, formats
from psiflow_cli.formats import kinds
from psiflow_cli.main import main
from psiflow_cli.values import kinds as values
from tests import warm
from tests.commands import springs

INPUTS = {
    "--input", "--from", "--model", "--valid", "--e0s", "--config", "--init", "--plumed", "--exclude", "--site",
    "--reference", "--style", "--continue", "--nearest", "--hills",
}  # fmt: skip
NAMES = (
    *("x.xyz", "x.extxyz", "x.xyz.gz", "x.XYZ", "x.traj", "x.cif", "x.PDB", "XDATCAR", "POSCAR", "x.vasp", "x.json"),
    *("x.db", "x.lmp", "x.png", "x.pdf", "x.svg", "x.csv", "x.parquet", "x.html", "x.npz", "x.toml", "x.foo", "x"),
    *("x.xyz.bz2", "x.cif.gz", "x.txt", "x.jpeg", ".xyz", "-", "x/", "x.pt"),
)
FRAMES = {"x.xyz", "x.extxyz", "x.xyz.gz", "x.XYZ", "x.traj", "-"}
ACCEPTED = {
    formats.FRAMES: FRAMES,
    formats.FRAMES_IN_FILE: FRAMES - {"-"},
    formats.STRUCTURES: FRAMES | {"x.cif", "x.PDB", "XDATCAR"},
    formats.STRUCTURES_IN_FILE: FRAMES - {"-"} | {"x.cif", "x.PDB", "XDATCAR"},
    formats.RELAXED: FRAMES | {"x.cif", "x.PDB", "XDATCAR", "POSCAR", "x.vasp"},
    formats.FIGURE: {"x.png", "x.pdf", "x.svg"},
    formats.TABLE: {"x.csv", "x.parquet"},
    formats.CSV: {"x.csv"},
    formats.PAGE: {"x.html", "-"},
    formats.ARRAYS: {"x.npz"},
    formats.BUNDLE: {"x.foo", "x", "x/", "x.lmp", "x.db", "x.jpeg", "x.xyz.bz2", ".xyz"},
    formats.SITE: {"x.toml", "x.foo", "x", "x/", "x.lmp", "x.db", "x.jpeg", "x.xyz.bz2", ".xyz", "-"},
    formats.EXPORT: {*NAMES} - {"-"},  # --to decides
}


def commands(group: click.Group, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*words, name))
        else:
            yield (*words, name), command


OPTIONS = [
    pytest.param(
        [*words, *("absent.xyz" for p in command.params if isinstance(p, click.Argument))],
        parameter,
        id=" ".join((*words, parameter.opts[-1])),
    )
    for words, command in commands(main)
    for parameter in command.params
    if isinstance(parameter.type, values.Output)
]


def test_what_names_a_file_is_an_output_or_an_input() -> None:
    assert len(OPTIONS) > 20
    for words, command in commands(main):
        for parameter in command.params:
            if isinstance(parameter, click.Option) and "FILE" in (parameter.metavar or ""):
                known = isinstance(parameter.type, values.Output) or parameter.opts[-1] in INPUTS
                assert known, f"{' '.join(words)} {parameter.opts[-1]}: say with options.output what may be written"


@pytest.mark.parametrize(("words", "parameter"), OPTIONS)
def test_an_unfit_name_is_refused_before_anything_is_read(
    words: list[str], parameter: click.Option, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert isinstance(parameter.type, values.Output)
    kind = parameter.type.kind
    refused = [name for name in NAMES if name not in ACCEPTED[kind]]
    assert [name for name in NAMES if not kind.complaint(name)] == [name for name in NAMES if name in ACCEPTED[kind]]
    for name in (refused[0], refused[-1]):
        done = CliRunner().invoke(main, [*words, parameter.opts[-1], name])
        assert done.exit_code == 2, name
        assert name in str(done.exception) + done.output
    assert not list(tmp_path.iterdir())


def read_back(name: str, folder: Path) -> list[extxyz.Frame]:
    """The frames as psiflow itself reads the file."""
    from psiflow_cli.stages.core import foreign

    path = Path(name) if formats.is_text(name) else foreign.as_text(name, folder / "back.xyz", None)
    return list(extxyz.read(path))


DIGITS = {".pdb": 2e-3, "XDATCAR": 1e-7, ".CIF": 1e-12}


def test_what_psiflow_writes_it_reads(psiflow, tmp_path):
    np, ase = pytest.importorskip("numpy"), pytest.importorskip("ase")
    pytest.importorskip("zstandard")
    lines = springs.START.replace("pos:R:3", "pos:R:3:move_mask:L:1").splitlines()
    flags = ["", "", " F", " T", " T"]
    Path("in.xyz").write_text("".join(f"{line}{flag}\n" for line, flag in zip(lines, flags, strict=True)))
    psiflow("rattle", "in.xyz", "-n", 2, "--seed", 5, "-o", "same.xyz")
    for ending in (".xyz.gz", ".XYZ.ZST", ".traj", ".CIF", ".pdb", "XDATCAR"):
        name = f"out{ending}" if ending.startswith(".") else ending
        said = psiflow("rattle", "in.xyz", "-n", 2, "--seed", 5, "-o", name).stderr
        whole = formats.is_text(name) or ending == ".traj"
        assert ("move_mask (2 frames)" in said) != whole
        for made, frame in zip(read_back(name, tmp_path), extxyz.read(Path("same.xyz")), strict=True):
            assert (made.symbols, made.pbc) == (frame.symbols, frame.pbc)
            atoms = (ase.Atoms(f.symbols, f.positions, cell=f.cell, pbc=True) for f in (made, frame))
            first, second = (each.get_all_distances(mic=True) for each in atoms)
            assert np.abs(first - second).max() <= DIGITS.get(ending, 0.0), ending
            if whole:
                assert made.column("move_mask") == [False, True, True]
                assert made.positions[0] == [0.0, 0.0, 0.0], "rattle moved an atom that is held"


def of_springs(*words: str, code: int = 0) -> str:
    """What a command says on stderr, with a model that costs nothing."""
    if not Path("springs.model").exists():
        springs.bundle(Path("springs.model"))
        Path("threads.toml").write_text(springs.SITE)
    command = [springs.__file__, *words, "--model", "springs.model", "--site", "threads.toml"]
    done = warm.server().run(command)
    assert done.returncode == code, done.stderr
    return done.stderr


def test_a_relaxed_poscar_keeps_its_selective_dynamics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ase")
    monkeypatch.chdir(tmp_path)
    Path("POSCAR").write_text(
        "water\n1.0\n9 0 0\n0 9 0\n0 0 9\nO H\n1 2\nSelective dynamics\nCartesian\n"
        "0.0 0.0 0.3 F F F\n1.16 0.0 0.0 T T T\n-0.24 0.93 -0.2 T T T\n"
    )
    said = of_springs("relax", "POSCAR", "-o", "CONTCAR")
    assert "CONTCAR: not stored in this format, unlike in .xyz and .traj: model_forces" in said
    (frame,) = read_back("CONTCAR", Path())
    assert frame.positions[0] == [0.0, 0.0, 0.3]
    assert frame.positions[1] == pytest.approx([0.96, 0.0, 0.0], abs=0.02)
    assert frame.column("move_mask") == [False, True, True]
    Path("two.xyz").write_text(2 * springs.START)
    said = of_springs("relax", "two.xyz", "-o", "x.vasp", code=2)
    assert "two.xyz:6: frame 2 is one frame too many" in said
    assert not Path("x.vasp.run").exists()


def test_predictions_and_their_picture(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("ase")
    pytest.importorskip("matplotlib")
    Path("in.xyz").write_text(springs.START.replace(' pbc="T', ' energy=-1.5 pbc="T'))
    of_springs("evaluate", "in.xyz", "-o", "out.traj", "--plot", "parity.PDF")
    assert Path("parity.PDF").read_bytes()[:5] == b"%PDF-"
    (frame,) = read_back("out.traj", Path())
    assert (frame.info["energy"], frame.info["model_energy"]) == (-1.5, 0.0)
    assert frame.column("model_forces") == [[0.0, 0.0, 0.0]] * 3


def test_files_of_several_outputs_keep_the_format():
    assert formats.beside(("x.traj",), "train", keep_suffix=True) == "x.train.traj"
    assert formats.beside(("a/X.XYZ.GZ",), "train") == "a/X.train.XYZ.GZ"
    assert formats.beside(("a/POSCAR",), "labelled") == "a/POSCAR.labelled.xyz"
    assert formats.beside(("a/XDATCAR",), "train", keep_suffix=True) == "a/train.XDATCAR"


@pytest.mark.parametrize(
    ("ending", "change", "said"),
    [
        (".cif", ('Lattice="9.0 0.0 0.0 0.0 9.0 0.0 0.0 0.0 9.0" ', ""), "frame 1 has no cell"),
        (".pdb", ("3\n", "2\n"), "frame 2 has atoms different from those of the first"),
    ],
)
def test_frames_that_a_format_cannot_hold_are_refused_first(psiflow, ending, change, said):
    pytest.importorskip("ase")
    other = springs.START.replace(*change, 1).replace('pbc="T T T"', 'pbc="F F F"')
    Path("in.xyz").write_text(other if ending == ".cif" else springs.START + other.rsplit("H", 1)[0])
    assert said in psiflow("rattle", "in.xyz", "-o", f"out{ending}", code=2).stderr
    assert sorted(os.listdir()) == ["in.xyz"]


def test_one_file_for_two_outputs_or_a_directory_in_its_place(psiflow):
    Path("in.xyz").write_text(springs.START)
    words = ("label", "in.xyz", "--reference", "emt", "-o", "out.xyz", "--failed", "./out.xyz")
    assert "used for two outputs" in psiflow(*words, code=2).stderr
    Path("there.xyz").mkdir()
    assert "is a directory" in psiflow("rattle", "in.xyz", "-o", "there.xyz", "--overwrite", code=73).stderr


def test_a_package_that_is_not_there_is_missed_first(monkeypatch):
    from psiflow_cli.errors import BadConfig, NoInput
    from psiflow_cli.stages.core import foreign

    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(NoInput, match=r"x.xyz.zst: needs the Python package zstandard"):
        foreign.check("x.xyz.zst", [], None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BadConfig, match="has no ASE, which is needed to write this format"):
        foreign.check("x.traj", [], None)


def test_every_ending_is_of_one_format() -> None:
    for ending in kinds.RELAXED.endings:
        name = f"x{ending}" if ending.startswith(".") else ending
        assert formats.is_text(name) != bool(formats.of_ase(name))
