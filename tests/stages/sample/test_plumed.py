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
