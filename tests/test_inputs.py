"""What a template's labels say of a frame's atoms, where a word stands in a file, what an unknown option gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from psiflow_cli import inputs


@pytest.mark.parametrize(
    ("label", "element"),
    [
        *[("Fe", "Fe"), ("fe1", "Fe"), ("Fe_up", "Fe"), ("FE-2", "Fe"), ("O1", "O"), ("Hu", "H"), ("H(1)", "H")],
        *[("Cd", "Cd"), ("C_d", "C"), ("Feu", "Fe"), ("X", ""), ("", ""), ("1H", "")],
    ],
)
def test_the_element_of_a_label(label: str, element: str) -> None:
    assert inputs.element(label) == element


KINDS = ["O", "Fe1", "Fe2", "H"]


@pytest.mark.parametrize(
    ("atoms", "several"),
    [
        ([], {"Fe": ["Fe1", "Fe2"]}),
        (["Fe1", "O", "Fe2"], {"Fe": ["Fe1", "Fe2"]}),
        (["Fe2", "O"], {}),  # the other one has no atom
        (["O", "H"], {"Fe": ["Fe1", "Fe2"]}),
    ],
)
def test_several_kinds_of_an_element(atoms: list[str], several: dict[str, list[str]]) -> None:
    assert inputs.several(KINDS, atoms) == several


@pytest.mark.parametrize(
    ("symbols", "atoms", "labels"),
    [
        (["H", "O"], [], ["H", "O"]),  # no iron: nothing to tell apart
        (["Fe", "O", "Fe"], ["Fe2", "O", "Fe1"], ["Fe2", "O", "Fe1"]),
        (["Fe", "Fe", "Ni"], ["O", "Fe2"], ["Fe2", "Fe2", "Ni"]),
        (["Fe", "O"], [], None),
        (["O", "Fe", "Fe"], ["Fe2", "O", "Fe1"], None),
        (["Fe", "O", "Fe", "O"], ["Fe2", "O", "Fe1"], None),
        (["H", "H"], ["Fe2", "O", "Fe1"], ["H", "H"]),
        (["Fe"], inputs.firsts(KINDS), ["Fe1"]),
    ],
)
def test_the_labels_of_a_frame(symbols: list[str], atoms: list[str], labels: list[str] | None) -> None:
    if labels is None:
        with pytest.raises(ValueError, match=r"several kinds of Fe \(Fe1, Fe2\)"):
            inputs.labelled(symbols, KINDS, atoms, "COORD")
    else:
        assert inputs.labelled(symbols, KINDS, atoms, "COORD") == labels


def test_where_a_word_stands(tmp_path: Path) -> None:
    path = tmp_path / "an.inp"
    path.write_text("# nspin\nnspin2 = 1 ! nspin\n  NSPIN = 2\n")
    assert inputs.at(path, "nspin") == f"{path}:3"
    assert inputs.at(path, "ecut") == str(path)


def test_an_unknown_option() -> None:
    assert inputs.hint("bassis", ["basis"]) == "did you mean 'basis'?"
    assert "charge=1 multiplicity=2" in inputs.hint("spin", ["basis"])
