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
    with pytest.raises(BadData, match=r":\d+: the data contain N, which have no &KIND"):
        cp2k.check(tight_binding, {"N"})
    with pytest.raises(BadData, match="the data contain O, which have no &KIND"):
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


TWO = """\
    &KIND H1
      ELEMENT H
      BASIS_SET DZVP-MOLOPT-SR-GTH
    &END KIND
"""


def own_atoms(*labels: str, kinds: str = TWO, rest: str = "") -> str:
    """The template with more kinds, and with these atoms in it."""
    rows = "".join(f"      {label} 0 0 {i}\n" for i, label in enumerate(labels))
    coord = f"    &COORD\n{rows}    &END COORD\n" if labels else ""
    return TEMPLATE.replace("    &KIND H\n", coord + kinds + rest + "    &KIND H\n")


def written(text: str) -> list[str]:
    return re.findall(r"^   (\S+) ", text.split("&COORD")[1].split("&END")[0], re.M)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["O", "H", "H1"], ["O", "H", "H1"]),
        (["o", "h1", "h"], ["O", "H1", "H"]),
        (["O", "H1_x", "H_1"], ["O", "H1_X", "H_1"]),
        (["O9", "H1", "H7"], ["O9", "H1", "H7"]),
    ],
)
def test_one_kind_is_named_like_the_element(read: Any, frame: Any, labels: list[str], names: list[str]) -> None:
    found = read(own_atoms(*labels))
    assert cp2k.check(found, {"O", "H"}) == []
    assert written(build(frame(), found)[0]) == names
    assert cp2k.identity(found)["labels"] == [label.upper() for label in labels]


@pytest.mark.parametrize(("label", "name"), [("H", "H"), ("H1", "H1"), ("H5", "H5")])
def test_where_all_atoms_have_one_kind_their_order_is_free(read: Any, frame: Any, label: str, name: str) -> None:
    found = read(own_atoms("O", label, label))
    turned = {**frame(), "symbols": ["H"], "positions": [[0.0] * 3]}
    assert written(build(turned, found)[0]) == [name]
    assert ("labels" in cp2k.identity(found)) is (label == "H1"), "only what changes a label is in the fingerprint"


def test_kinds_that_nothing_decides_between(read: Any, frame: Any, tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"cp2k\.inp:9: &KIND H1 and &KIND H are all for H, but differ"):
        cp2k.check(read(own_atoms()), {"O", "H"})
    cp2k.check(read(own_atoms()), {"O"})
    default = own_atoms("O", "H1", kinds="&KIND DEFAULT\n&END\n" + TWO).replace("&KIND H\n", "&KIND N\n")
    cp2k.check(read(default), {"O", "H"})
    with pytest.raises(BadData, match="&KIND H1 and &KIND DEFAULT are all for H"):
        cp2k.check(read(default.replace("H1 0 0 1", "N 0 0 1")), {"O", "H"})
    with pytest.raises(Impossible, match="several &KINDs of H, but its own atoms include no H"):
        build(frame(), read(own_atoms("O")))


@pytest.mark.parametrize("method", ["&QS\nMETHOD XTB\n&END\n", "&TOPOLOGY\nUSE_ELEMENT_AS_KIND\n&END\n"])
def test_where_cp2k_reads_no_label(read: Any, frame: Any, method: str) -> None:
    text = own_atoms("O", "H", "H1")
    before = "&SUBSYS\n" if "TOPOLOGY" in method else "&DFT\n"
    text = text.replace(before, before + method, 1)
    found = read(text)
    cp2k.check(found, {"O", "H"})
    assert "labels" not in found
    assert written(build(frame(), found)[0]) == ["O", "H", "H"]
    assert ("USE_ELEMENT_AS_KIND" in found["template"]) is ("TOPOLOGY" in method)


@pytest.mark.parametrize("word", ["GHOST", "GHOST T", "FLOATING_BASIS_CENTER .TRUE."])
def test_centres_that_are_no_atoms(read: Any, frame: Any, tmp_path: Path, word: str) -> None:
    kinds = f"&KIND H_g\nELEMENT H\n{word}\n&END\n"
    with pytest.raises(BadData) as caught:
        read(own_atoms("O", "H", "H_G", kinds=kinds))
    assert caught.value.message.startswith(
        f"{tmp_path / 'cp2k.inp'}:16: H_g is not an atom (its &KIND has {word.split()[0]}"
    )
    unused = read(own_atoms("O", "H", "H", kinds=kinds))
    assert "ghost atoms: &KIND H_g is not used" in cp2k.check(unused, {"O", "H"})[0]
    read(own_atoms("O", "H", "H_G", kinds=kinds.replace(word, "GHOST F")))


def test_the_kind_of_a_single_atom(read: Any, frame: Any) -> None:
    """One that differs in what an isolated atom does not have is the same atom; another basis is another energy."""
    same = own_atoms("O", "H", "H1", kinds=TWO.replace("DZVP-MOLOPT-SR-GTH", "SZV-MOLOPT-GTH\nMAGNETIZATION 1"))
    alone = cp2k.isolated(read(same))
    cp2k.check(alone, {"H"})
    assert written(build({**frame(), "symbols": ["H"], "positions": [[0.0] * 3]}, alone)[0]) == ["H"]
    with pytest.raises(BadData, match=r"cp2k\.inp:9: &KIND H1 and &KIND H are all for H"):
        cp2k.check(cp2k.isolated(read(own_atoms("O", "H", "H1"))), {"H"})


def test_kinds_that_no_frame_needs_are_said(read: Any, tmp_path: Path) -> None:
    assert cp2k.check(read(TEMPLATE), {"O", "H"}) == []
    assert cp2k.check(read(TEMPLATE), {"O"}) == [f"{tmp_path / 'cp2k.inp'}: no frame uses its &KIND H"]
