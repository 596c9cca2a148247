"""Which sections a CP2K template may have; the lists are compared with all that the installed CP2K knows."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from psiflow_cli.errors import BadData
from psiflow_cli.references import cp2k
from psiflow_cli.references.cp2k import sections

CP2K = shutil.which("cp2k.psmp")
TEMPLATE = """\
&GLOBAL
  RUN_TYPE ENERGY_FORCE
&END GLOBAL
&FORCE_EVAL
  METHOD QS
  &PROPERTIES
  &END PROPERTIES
  &DFT
    &QS
      METHOD GPW
    &END QS
    &SCF
    &END SCF
    &XC
    &END XC
  &END DFT
  &SUBSYS
    &KIND H
    &END KIND
  &END SUBSYS
&END FORCE_EVAL
"""


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def settings(text: str) -> dict[str, Any]:
        (tmp_path / "cp2k.inp").write_text(text)
        return cp2k.settings(tmp_path / "cp2k.inp", {})

    return settings


def line_of(path: str) -> int:
    """Where the section at a path opens in the template; 0 for the file itself."""
    name = path.rsplit("/", 1)[-1]
    return next((n for n, line in enumerate(TEMPLATE.splitlines(), 1) if line.strip() == f"&{name}"), 0)


def with_line(path: str, text: str) -> tuple[str, int]:
    """The template with a line of text in the section at a path, and its number."""
    lines, place = TEMPLATE.splitlines(), line_of(path)
    return "\n".join([*lines[:place], *text.splitlines(), *lines[place:], ""]), place + 1


@pytest.mark.parametrize("path", sections.REFUSED)
def test_a_section_that_changes_what_a_label_means(read: Any, path: str) -> None:
    where, _, name = path.rpartition("/")
    text, number = with_line(where, f"&{name} ! for another purpose\n&END")
    with pytest.raises(BadData) as caught:
        read(text)
    assert f"cp2k.inp:{number}: &{name}" in caught.value.message
    assert sections.REFUSED[path] in caught.value.message
    assert caught.value.hint == "remove the section"
    assert read(with_line(where, f"&{name} .FALSE.\n&END")[0])["template"].count("METHOD QS") == 1


UNKNOWN = {
    "": ("&MOTOIN", "did you mean 'MOTION'?"),
    "FORCE_EVAL": ("&DFTT", "did you mean 'DFT'?"),
    "FORCE_EVAL/DFT": ("&OF_TOMORROW", "remove the section, if the energy does not depend on it"),
    "FORCE_EVAL/DFT/SCF": ("&SMEER", "did you mean 'SMEAR'?"),
    "FORCE_EVAL/PROPERTIES": ("&OF_TOMORROW", "remove the section, if the energy does not depend on it"),
}


@pytest.mark.parametrize("path", UNKNOWN)
def test_a_section_that_nobody_knows(read: Any, path: str) -> None:
    opening, hint = UNKNOWN[path]
    text, number = with_line(path, f"{opening}\n&END")
    with pytest.raises(BadData) as caught:
        read(text)
    assert f"cp2k.inp:{number}: unknown section {opening}" in caught.value.message
    assert caught.value.hint == hint


def test_orbitals_that_no_frame_has(read: Any) -> None:
    text, number = with_line("FORCE_EVAL/DFT/SCF", "SCF_GUESS RESTART\n&MOM\n&END")
    with pytest.raises(BadData, match=f"cp2k.inp:{number + 1}: &MOM in &SCF: with SCF_GUESS RESTART"):
        read(text)
    assert "&MOM" in read(text.replace("RESTART", "ATOMIC"))["template"]


REFUSED_WORDS = {
    "RUN_TYPE BSSE": "GLOBAL",
    "RUN_TYPE RT_PROPAGATION": "GLOBAL",
    "RUN_TYPE Ehrenfest_Dyn": "GLOBAL",
    "RUN_TYPE LINEAR_RESPONSE": "GLOBAL",
    "RUN_TYPE OF_TOMORROW": "GLOBAL",
    "PROGRAM_NAME ATOM": "GLOBAL",
    "METHOD MIXED": "FORCE_EVAL",
    "EXCITATIONS TDDFPT": "FORCE_EVAL/DFT",
    "DFET_EMBEDDED": "FORCE_EVAL/DFT/QS",
    "TRANSPORT .TRUE.": "FORCE_EVAL/DFT/QS",
}


@pytest.mark.parametrize("text", REFUSED_WORDS)
def test_a_keyword_that_changes_what_a_label_means(read: Any, text: str) -> None:
    path = REFUSED_WORDS[text]
    changed, number = with_line(path, text)
    with pytest.raises(BadData) as caught:
        read(changed)
    assert f"cp2k.inp:{number}: {text} in &{path.split('/')[-1]}: " in caught.value.message


@pytest.mark.parametrize("run_type", ["energy", "MD", "GEO_OPT", "CELL_OPT", "NORMAL_MODES"])
def test_run_types_that_move_atoms_are_replaced(read: Any, run_type: str) -> None:
    assert read(TEMPLATE.replace("ENERGY_FORCE", run_type)) == read(TEMPLATE)
    assert read(with_line("FORCE_EVAL/DFT/QS", "TRANSPORT F\nDFET_EMBEDDED .FALSE.")[0]) != read(TEMPLATE)


def test_a_change_cannot_bring_such_a_section_in(read: Any) -> None:
    with pytest.raises(BadData, match="&XAS in &DFT: the printed energy is then that of a core hole"):
        cp2k.changed(read(TEMPLATE), {"FORCE_EVAL/DFT/XAS/METHOD": "TP_HH"})


@pytest.mark.skipif(CP2K is None, reason="cp2k.psmp is not installed")
def test_every_section_of_the_installed_cp2k_is_listed_once(tmp_path: Path) -> None:
    subprocess.run([str(CP2K), "--xml"], cwd=tmp_path, check=True, capture_output=True)
    root = ElementTree.parse(tmp_path / "cp2k_input.xml").getroot()
    run_types = {name.text for item in root.iter("KEYWORD") if _named(item, "RUN_TYPE") for name in item.iter("NAME")}
    assert set(sections.RUN_TYPES) <= run_types
    for path, stay in sections.METHOD.items():
        refused = [p.rpartition("/")[2] for p in sections.REFUSED if p.rpartition("/")[0] == path]
        left_out = sections.CONTROLLED.get(path, "").split()
        listed = [*stay.split(), *refused, *left_out]
        assert len(set(listed)) == len(listed)
        below = root
        for name in path.split("/") if path else []:
            below = next(s for s in below.findall("SECTION") if _named(s, name))
        unlisted = {s.findtext("NAME") for s in below.findall("SECTION")} - {*listed, "PRINT"}
        assert not unlisted, f"{path}: {unlisted} are neither kept, left out nor refused"


def _named(element: ElementTree.Element, name: str) -> bool:
    return element.findtext("NAME") == name
