"""The files that PLUMED's input names go along; those that it writes do not."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from psiflow_cli.errors import BadConfig, BadData, NoInput
from psiflow_cli.stages.sample.plumed import files as plumed
from psiflow_cli.stages.sample.plumed import trial

INPUT = """UNITS LENGTH=A
MOLINFO STRUCTURE=a.pdb # REFERENCE=none
r: RMSD REFERENCE=below/r.pdb TYPE=OPTIMAL
INCLUDE FILE=more.dat
p: PATHMSD ...
  REFERENCE=p.pdb
  LAMBDA=3
... PATHMSD
PRINT ARG=r FILE=COLVAR
"""
MORE = "EXTERNAL ARG=r FILE=grid.dat\nDUMPATOMS ATOMS=1 FILE=a.pdb.written\n"


def test_the_files_of_an_input(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    texts = {"a.pdb": "a", "below/r.pdb": "r", "p.pdb": "p", "grid.dat": "g", "more.dat": MORE, "COLVAR": "of before"}
    for name, text in {**texts, "plumed.dat": INPUT}.items():
        (tmp_path / name).write_text(text)
    text, files = plumed.read(str(tmp_path / "plumed.dat"))
    assert text == INPUT
    assert files == {name: text for name, text in texts.items() if name != "COLVAR"}
    (tmp_path / "p.pdb").unlink()
    with pytest.raises(NoInput, match=r"plumed.dat:6: p.pdb: no such file"):
        plumed.read(str(tmp_path / "plumed.dat"))
    (tmp_path / "one.dat").write_text("d: DISTANCE ATOMS=1,2\nPRINT ARG=d FILE=out\n")
    assert plumed.read(str(tmp_path / "one.dat"))[1] == {}
    (tmp_path / "up.dat").write_text("r: RMSD REFERENCE=../r.pdb\n")
    with pytest.raises(NoInput, match=r"up.dat:1: \.\./r.pdb"):
        plumed.read(str(tmp_path / "up.dat"))


def test_files_elsewhere_go_along_as_those_beside_the_input_do(tmp_path: Path) -> None:
    """By whatever path, also of an included file: under names of their own, which the texts have in their place."""
    inside, there, grids = (tmp_path / name for name in ("inside", "there", "grids"))
    for folder in (inside, there, grids):
        folder.mkdir()
        (folder / "grid.dat").write_text(f"of {folder.name}")
    (there / "more.dat").write_text(f"EXTERNAL ARG=r FILE=grid.dat\nEXTERNAL ARG=r FILE={grids}/grid.dat # the other\n")
    (inside / "plumed.dat").write_text(
        f"LOAD FILE=/opt/more.so\nINCLUDE FILE={there}/more.dat\nREAD VALUES=x FILE=../there/grid.dat\n"
        f"EXTERNAL ARG=r FILE={there}/grid.dat\nPRINT ARG=r FILE=COLVAR\n"
    )
    with pytest.raises(NoInput, match=r"plumed.dat:1: /opt/more.so: no such file"):
        plumed.read(str(inside / "plumed.dat"))
    library = tmp_path / "more.so"
    library.write_bytes(b"\x7fELF\0\xff")
    text = (inside / "plumed.dat").read_text().replace("/opt/more.so", str(library))
    (inside / "plumed.dat").write_text(text)
    text, files = plumed.read(str(inside / "plumed.dat"))
    assert text == (
        f"LOAD FILE={library}\nINCLUDE FILE=elsewhere/1-more.dat\nREAD VALUES=x FILE=elsewhere/3-grid.dat\n"
        "EXTERNAL ARG=r FILE=elsewhere/3-grid.dat\nPRINT ARG=r FILE=COLVAR\n"
        f"# sha256 of {library}: {hashlib.sha256(library.read_bytes()).hexdigest()}\n"
    )
    assert files == {
        "elsewhere/1-more.dat": (
            "EXTERNAL ARG=r FILE=grid.dat\nEXTERNAL ARG=r FILE=elsewhere/2-grid.dat # the other\n"
        ),
        "grid.dat": "of inside", "elsewhere/2-grid.dat": "of grids", "elsewhere/3-grid.dat": "of there",
    }  # fmt: skip


FORMS = """# METAD FILE=none
p: RMSD REFERENCE={with blank.pdb} TYPE=OPTIMAL
METAD ...
  LABEL=m ARG=p
  SIGMA=0.1 HEIGHT=1 # FILE=none
  GRID_RFILE=grid.dat GRID_WFILE=grid.dat PACE={
  100} TARGET=below/t.dat
... METAD
c: CONTACTMAP ATOMS1=1,2 REFERENCE1=0.3 SWITCH={RATIONAL R_0=0.1
}
ALPHABETA ATOMS1=1,2,3,4 REFERENCE=3.14
INCLUDE FILE=a.dat
ENDPLUMED
RMSD REFERENCE=never.pdb
"""


def test_all_forms_of_a_statement(tmp_path: Path) -> None:
    """Braces, blanks, labels, several lines; a file that is read and later written anew keeps its first contents."""
    (tmp_path / "below").mkdir()
    for name in ("with blank.pdb", "grid.dat", "below/t.dat"):
        (tmp_path / name).write_text(f"of {name}")
    (tmp_path / "a.dat").write_text("INCLUDE FILE=b.dat\n")
    (tmp_path / "b.dat").write_text("o: OPES_METAD ARG=p STATE_RFILE=STATE STATE_WFILE=STATE\n")
    text = FORMS.replace("SWITCH={RATIONAL R_0=0.1\n}", "SWITCH={RATIONAL R_0=0.1}")
    (tmp_path / "plumed.dat").write_text(text)
    prepared, files = plumed.read(str(tmp_path / "plumed.dat"))
    assert prepared == text.replace("GRID_RFILE=grid.dat", "GRID_RFILE=elsewhere/1-grid.dat")
    assert set(files) == {"with blank.pdb", "elsewhere/1-grid.dat", "below/t.dat", "a.dat", "b.dat"}
    assert files["elsewhere/1-grid.dat"] == "of grid.dat"
    placed = [(Path(where).name, each.name, each.label) for where, each in plumed.placed(str(tmp_path / "plumed.dat"))]
    assert placed == [
        ("plumed.dat:2", "RMSD", "p"), ("plumed.dat:3", "METAD", "m"), ("plumed.dat:9", "CONTACTMAP", "c"),
        ("plumed.dat:10", "ALPHABETA", ""), ("b.dat:1", "OPES_METAD", "o"),
    ]  # fmt: skip
    (tmp_path / "STATE").write_text("of the bias before")
    assert plumed.read(str(tmp_path / "plumed.dat"))[1]["elsewhere/2-STATE"] == "of the bias before"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("PRINT ARG=d FILE=/tmp/COLVAR", ":1: FILE=/tmp/COLVAR: all walkers would write there"),
        ("\nDUMPATOMS ATOMS=1 FILE=../a.xyz", ":2: FILE=../a.xyz: all walkers"),
        ("METAD ARG=d FILE=out/HILLS", ":1: FILE=out/HILLS: PLUMED does not create folders"),
        ("METAD ARG=d\nb: METAD ARG=e", ":2: HILLS is also written by .*:1"),
        ("PRINT ARG=d FILE=g.dat\nEXTERNAL ARG=d FILE=g.dat", ":1: g.dat is also read"),
        ("PRINT ARG=d FILE=plumed.log", ":1: FILE=plumed.log: psiflow uses this file name"),
        ("RESTRAINT ARG=d AT=@replicas:1,2", ":1: AT=@replicas:1,2: PLUMED's own replicas"),
        ("RESTRAINT ARG=d AT={1", ":1: a brace is not closed"),
        ("RESTRAINT ARG=d AT=1}", ":1: a closing brace without an opening one"),
        ("METAD ...\nARG=d\n", ":1: the statement is not closed"),
        ("INCLUDE FILE=again.dat", "again.dat:1: again.dat includes itself"),
    ],
)
def test_what_no_walker_could_do(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "g.dat").write_text("g")
    (tmp_path / "again.dat").write_text("INCLUDE FILE=again.dat\n")
    (tmp_path / "plumed.dat").write_text(text + "\n")
    with pytest.raises(BadData, match=problem):
        plumed.read(str(tmp_path / "plumed.dat"))


@pytest.mark.parametrize(
    ("pythonpath", "hint"), [("", "conda-forge"), ("/opt/plumed/python", "keep_pythonpath = true")]
)
def test_a_package_that_workers_do_not_have(monkeypatch: pytest.MonkeyPatch, pythonpath: str, hint: str) -> None:
    """Where the command has a PYTHONPATH, as from a module of the cluster, workers may only lack that."""
    monkeypatch.setenv("PYTHONPATH", pythonpath)
    monkeypatch.setattr(trial, "_ask", lambda *_: {"kind": "package", "problem": "No module named 'plumed'", "log": ""})
    here = SimpleNamespace(modules=[], source=[], container="")
    executor: Any = SimpleNamespace(python="python", provider=SimpleNamespace(type="local"), environment=here)
    dynamics: Any = {"plumed": "", "timestep": 0.5}
    start: Any = {"start": {"symbols": ["Cu"]}, "temperature": [300.0, 300.0]}
    with pytest.raises(BadConfig, match="does not load in python: No module") as error:
        trial.check("plumed.dat", dynamics, [start], executor)
    assert hint in error.value.hint
