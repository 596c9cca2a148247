"""The files that PLUMED's input names go along; those that it writes do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from psiflow_cli.errors import NoInput
from psiflow_cli.stages.sample import plumed

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
        f"EXTERNAL ARG=r FILE={there}/grid.dat\nPRINT ARG=r FILE=/tmp/COLVAR\n"
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
        "EXTERNAL ARG=r FILE=elsewhere/3-grid.dat\nPRINT ARG=r FILE=/tmp/COLVAR\n"
    )
    assert files == {
        "elsewhere/1-more.dat": (
            "EXTERNAL ARG=r FILE=grid.dat\nEXTERNAL ARG=r FILE=elsewhere/2-grid.dat # the other\n"
        ),
        "grid.dat": "of inside", "elsewhere/2-grid.dat": "of grids", "elsewhere/3-grid.dat": "of there",
    }  # fmt: skip
