"""Which &KIND is whose. No CP2K needed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from psiflow_cli.errors import BadData
from psiflow_cli.references import cp2k
from psiflow_cli.references.cp2k.single_point import Impossible, build
from tests.references.test_cp2k_template import TEMPLATE


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def settings(text: str) -> dict[str, Any]:
        (tmp_path / "cp2k.inp").write_text(text)
        return cp2k.settings(tmp_path / "cp2k.inp", {})

    return settings


def test_missing_kinds(read: Any, tmp_path: Path) -> None:
    found = read("! first\n" + TEMPLATE)
    cp2k.check(found, {"H", "O"})
    cp2k.check(found, {"H"})
    with pytest.raises(BadData) as caught:
        cp2k.check(found, {"H", "N"})
    assert caught.value.message.startswith(f"{tmp_path / 'cp2k.inp'}:10: no &KIND N")
    cp2k.check(read(TEMPLATE.replace("&KIND O", "&KIND DEFAULT")), {"H", "N"})
    tight_binding = read(TEMPLATE.replace("&MGRID", "&QS\nMETHOD xTB\n&END\n&MGRID"))
    cp2k.check(tight_binding, {"H", "N"})
    with pytest.raises(BadData, match=r":\d+: no &KIND is for N, which the data hold"):
        cp2k.check(tight_binding, {"N"})
    with pytest.raises(BadData, match="no &KIND is for O"):
        cp2k.check(read(TEMPLATE.replace("&KIND O", "&KIND O\nGHOST")), {"O"})


@pytest.mark.parametrize("kind", ["&KIND Ox\nELEMENT O", "&KIND O1"])
def test_a_kind_by_another_name(read: Any, frame: Any, kind: str) -> None:
    text, _ = build(frame(), read(TEMPLATE.replace("&KIND O", kind)))
    assert f"\n   {kind.split()[1]} 0.0 0.0 0.1\n" in text


NICKEL = """\
    &KIND Ni_up
      ELEMENT Ni
      MAGNETIZATION 2
    &END KIND
    &KIND Ni_down
      ELEMENT Ni
      MAGNETIZATION -2
    &END KIND
"""


def test_several_kinds_of_an_element(read: Any, frame: Any, tmp_path: Path) -> None:
    """Which is whose, only the order of the template's own atoms can tell."""
    unclear = TEMPLATE.replace("    &KIND H\n", NICKEL + "    &KIND H\n")
    cp2k.check(read(unclear), {"O", "H"})
    with pytest.raises(BadData, match="&KIND Ni_up and &KIND Ni_down are all for Ni"):
        cp2k.check(read(unclear), {"O", "Ni"})
    coord = "    &COORD\n      UNIT angstrom\n      ni_DOWN 0 0 0\n      O 0 0 2\n      Ni_up 0 0 4\n    &END COORD\n"
    clear = read(unclear.replace("  &SUBSYS\n", "  &SUBSYS\n" + coord))
    cp2k.check(clear, {"O", "Ni"})
    text, _ = build(frame(symbols=["Ni", "O", "Ni"]), clear)
    assert re.findall(r"^   (\w+) ", text.split("&COORD")[1].split("&END")[0], re.M) == ["Ni_down", "O", "Ni_up"]
    with pytest.raises(Impossible, match="several &KINDs of Ni"):
        build(frame(symbols=["O", "Ni", "Ni"]), clear)
    alone = cp2k.isolated(clear)
    assert "Ni_down" not in alone["template"]
    assert "\n   Ni_up 0.0" in build({**frame(), "symbols": ["Ni"], "positions": [[0.0] * 3]}, alone)[0]
    same = NICKEL.replace("-2", "2")
    assert "   Ni_up 0.0" in build(frame(symbols=["Ni", "O", "O"]), read(unclear.replace(NICKEL, same)))[0]


def test_kinds_that_no_frame_needs_are_said(read: Any, tmp_path: Path) -> None:
    assert cp2k.check(read(TEMPLATE), {"O", "H"}) == []
    assert cp2k.check(read(TEMPLATE), {"O"}) == [f"{tmp_path / 'cp2k.inp'}: no frame needs its &KIND H"]
