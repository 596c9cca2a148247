"""What a template says of single atoms besides their kinds, and of its cell: carried or refused. No CP2K needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ase.geometry import cellpar_to_cell

from psiflow_cli.errors import BadData
from psiflow_cli.references import cp2k
from psiflow_cli.references.cp2k import single_point
from psiflow_cli.references.cp2k.single_point import Impossible, build
from tests.references.test_cp2k_kinds import TWO, own_atoms, written
from tests.references.test_cp2k_template import TEMPLATE

KIM_GORDON = "    &KG_METHOD\n    &END KG_METHOD\n    &MGRID\n"
USER = "&TOPOLOGY\nCONNECTIVITY USER\nCOORD_FILE_FORMAT OFF\n&CENTER_COORDINATES F\n&END\n&END\n"


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def settings(text: str) -> dict[str, Any]:
        (tmp_path / "cp2k.inp").write_text(text)
        return cp2k.settings(tmp_path / "cp2k.inp", {})

    return settings


def refused(settings: dict[str, Any], *frames: dict[str, Any]) -> str:
    """What is said of frames of which none fits."""
    survey = cp2k.survey(settings)  # type: ignore[arg-type]
    for frame in frames:
        survey.see(frame)  # type: ignore[arg-type]
    with pytest.raises(BadData) as caught:
        survey.notes()
    return caught.value.message


def notes(settings: dict[str, Any], *frames: dict[str, Any]) -> list[str]:
    survey = cp2k.survey(settings)  # type: ignore[arg-type]
    for frame in frames:
        survey.see(frame)  # type: ignore[arg-type]
    return survey.notes()


def water(rows: str) -> str:
    return TEMPLATE.replace("&SUBSYS\n", f"&SUBSYS\n{USER}&COORD\n{rows}&END\n", 1)


def test_molecules_where_the_label_depends_on_them(read: Any, frame: Any) -> None:
    text = water("O 0 0 0 W R\nH 0 0 1 W\nH 0 0 2\n")
    plain = read(text)
    assert "molecules" not in plain
    assert "TOPOLOGY" not in plain["template"]
    found = read(text.replace("    &MGRID\n", KIM_GORDON, 1))
    assert found["molecules"] == ["W R", "W", ""]
    rendered, _ = build(frame(), found)
    assert " CONNECTIVITY USER\n" in rendered
    assert "CENTER" not in rendered
    assert "   O 0.0 0.0 0.1 W R\n" in rendered
    message = refused(found, {**frame(), "symbols": ["H", "O", "H"]})
    assert "names the molecules of its atoms, but its atom 1 is O, the frame's H" in message
    assert "molecules" not in read(text.replace("W R", "").replace("W", "").replace("    &MGRID\n", KIM_GORDON, 1))


def test_another_order_of_atoms_is_refused(read: Any) -> None:
    text = water("O 0 0 0\n").replace("    &MGRID\n", KIM_GORDON, 1)
    with pytest.raises(BadData, match="REORDER in &GENERATE"):
        read(text.replace("CONNECTIVITY USER\n", "&GENERATE\nREORDER\n&END\n"))


NUMBERED = "&QS\n&DDAPC_RESTRAINT\nATOMS 1\n&END\n&END\n"


def test_atoms_by_their_numbers(read: Any, frame: Any) -> None:
    """What numbers the template's own atoms is for frames with these; without own atoms, for any."""
    text = water("O 0 0 0\nH 0 0 1\nH 0 0 2\n").replace("&MGRID", f"{NUMBERED}&MGRID", 1)
    found = read(text)
    build(frame(), found)
    with pytest.raises(Impossible, match=r"numbers its atoms \(ATOMS 1\), but it has 3 atoms, the frame 1"):
        build({**frame(), "symbols": ["O"], "positions": [[0.0] * 3]}, found)
    assert "labels" not in cp2k.identity(found), "the labels are those of a version that did not look"
    build(frame(symbols=["O"] * 3), read(TEMPLATE.replace("&MGRID", f"{NUMBERED}&MGRID", 1)))


XYZ = "3\nwater\nH1 0 0 0\n8 0 0 1\nH 0 0 2\n"


@pytest.mark.parametrize(("form", "contents"), [("xyz", XYZ), ("CP2K", "H1 0 0 0 MOL\nO 0 0 1\n\nH 0 0 2\n")])
def test_kinds_from_a_file_of_coordinates(read: Any, frame: Any, tmp_path: Path, form: str, contents: str) -> None:
    (tmp_path / "water.xyz").write_text(contents)
    topology = f"&TOPOLOGY\nCOORD_FILE_NAME ./water.xyz\nCOORD_FILE_FORMAT {form}\n&END\n"
    found = read(own_atoms(kinds=TWO + topology))
    assert written(build({**frame(), "symbols": ["H", "O", "H"]}, found)[0]) == ["H1", "O", "H"]
    assert found["files"] == {}


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("PDB", "the kinds of the atoms are in water.pdb, which is PDB"),
        ("XYZ", "water.pdb: No such file"),
        ("", "but differ"),
    ],
)
def test_kinds_from_a_file_that_does_not_say_them(read: Any, tmp_path: Path, form: str, message: str) -> None:
    stated = f"COORD_FILE_FORMAT {form}\n" if form else ""
    topology = f"&TOPOLOGY\nCOORD_FILE_NAME water.pdb\n{stated}&END\n"
    with pytest.raises(BadData, match=message) as caught:
        cp2k.check(read(own_atoms(kinds=TWO + topology)), {"O", "H"})
    assert "cp2k.inp:" in caught.value.message
    read(own_atoms(kinds=topology))


def open_cell(cell: str) -> str:
    return TEMPLATE.replace("&SUBSYS\n", f"&SUBSYS\n&CELL\n{cell}\nPERIODIC NONE\n&END\n", 1)


@pytest.mark.parametrize(
    ("cell", "vectors"),
    [
        ("ABC 8 9 10", [[8, 0, 0], [0, 9, 0], [0, 0, 10]]),
        ("ABC [nm] 3*0.8", [[8, 0, 0], [0, 8, 0], [0, 0, 8]]),
        ("A [bohr] 10 0 0\nB 0, 8.0D0, 0\nC 0 0 8", [[5.2917720859, 0, 0], [0, 8, 0], [0, 0, 8]]),
        ("ABC 8 8 8\nALPHA_BETA_GAMMA 90 90 60", [[8, 0, 0], [4, 6.92820323, 0], [0, 0, 8]]),
        ("ABC 8 9 10\nANGLES 60 70 80", cellpar_to_cell([8, 9, 10, 60, 70, 80])),
    ],
)
def test_the_cell_of_a_template_for_molecules(read: Any, tmp_path: Path, cell: str, vectors: list[list[float]]) -> None:
    found = read(open_cell(cell))
    assert found["cell"] == [pytest.approx(row, abs=1e-8) for row in vectors]
    assert "cell" in cp2k.identity(found)
    assert "FORCE_EVAL/SUBSYS/CELL" not in cp2k.replaced(tmp_path / "cp2k.inp")


@pytest.mark.parametrize("periodic", ["", "PERIODIC XYZ", "PERIODIC XY"])
def test_a_cell_of_another_template_is_not_in_the_fingerprint(read: Any, periodic: str) -> None:
    found = read(open_cell("ABC 8 8 8").replace("PERIODIC NONE", periodic))
    assert cp2k.identity(found) == cp2k.identity(read(TEMPLATE))


@pytest.mark.parametrize("cell", ["ABC 8 8", "ABC [furlong] 8 8 8", "CELL_FILE_NAME c.xsc"])
def test_a_cell_that_cannot_be_read(read: Any, cell: str) -> None:
    with pytest.raises(BadData, match=r"cp2k\.inp:11: "):
        read(open_cell(cell))


def test_all_frames_of_a_molecule_get_one_cube(read: Any, molecule: Any) -> None:
    settings = read(TEMPLATE)
    survey = cp2k.survey(settings)
    longer = [[0.0, 0.0, 0.1], [0.76, 0.0, 0.6], [-4.77, 0.05, 0.57]]
    for seen in (molecule(), molecule(positions=longer), molecule()):
        survey.see(seen)
    decided = survey.decided()
    assert decided == {"cubes": {"H2O1": 16.0}}
    assert single_point.cube(molecule(), settings) == 12.0
    assert [single_point.cube(each, {**settings, **decided}) for each in (molecule(), molecule(positions=longer))] == [
        16.0, 16.0,
    ]  # fmt: skip
    assert cp2k.survey({**settings, "box": 20.0}).decided() == {}


def test_what_is_said_of_boxes(read: Any, frame: Any, molecule: Any) -> None:
    longer = [[0.0, 0.0, 0.1], [0.76, 0.0, 0.6], [-4.77, 0.05, 0.57]]
    assert notes(read(TEMPLATE), frame()) == []
    (same,) = notes(read(TEMPLATE), frame(), molecule(), molecule())
    assert same.startswith(
        "2 frames without a cell: computed in a cube of 12 Å (psiflow_box); to change this, use --set box=EDGE or"
    )
    (wider,) = notes(read(TEMPLATE), molecule(), molecule(positions=longer))
    assert wider.startswith("2 frames without a cell: computed in a cube of 16 Å (psiflow_box)")
    alone = molecule(symbols=["H"], positions=[[0.0, 0.0, 0.0]])
    (several,) = notes(read(TEMPLATE), alone, molecule(positions=longer))
    assert "computed in a cube of 10 to 16 Å, one for all frames of the same atoms (psiflow_box)" in several
    assert notes({**read(TEMPLATE), "box": 16.0}, molecule(), molecule(positions=longer)) == []
    solver, *_ = notes(read(open_cell("ABC 12 12 12")), molecule())
    assert solver.endswith(
        "PERIODIC NONE: POISSON_SOLVER WAVELET instead of PERIODIC; to choose another, set it in the input"
    )
    mt = "&DFT\n&POISSON\nPOISSON_SOLVER MT\n&END\n"
    assert notes(read(open_cell("ABC 12 12 12").replace("&DFT\n", mt, 1)), molecule()) == []
    (tight,) = notes(read(open_cell("ABC 6 6 6").replace("&DFT\n", mt, 1)), molecule(pbc=[False] * 3))
    assert tight.startswith("warning: 1 frame computed in a cell with too little room: the cell is 6.0 Å high")
    wavelet = read(open_cell("ABC 9 9 9").replace("&DFT\n", mt.replace("MT", "WAVELET"), 1))
    near = frame(cell=[[9.0, 0, 0], [0, 9.0, 0], [0, 0, 9.0]], pbc=[False] * 3)
    (kept,) = notes(wavelet, near)
    assert kept.endswith("room: atoms are less than 3 Å from a face of the cell, where WAVELET cuts the density off")
    _, shifted = notes(read(TEMPLATE), near)
    assert shifted == "1 frame moved to the middle of the cell: WAVELET needs space on all sides"
    other, *_ = notes(wavelet, frame(), molecule())
    assert other.endswith("its &CELL says PERIODIC NONE, 1 frame PERIODIC XYZ: the periodicity of the frames is used")
    some = notes(read(TEMPLATE), frame(pbc=[False] * 3), frame())
    assert some[0].startswith("warning: 1 of 2 frames cannot be computed: the cell is 5.0 Å high")
    assert "cp2k.inp:9: none of the 2 frames matches" in refused(read(TEMPLATE), *[frame(pbc=[False] * 3)] * 2)
