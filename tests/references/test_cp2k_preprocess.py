"""CP2K's grammar, read as CP2K reads it. No CP2K needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from psiflow_cli.references import cp2k
from psiflow_cli.references.cp2k import preprocess, template
from tests.references.test_cp2k_template import TEMPLATE


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def settings(text: str) -> dict[str, Any]:
        (tmp_path / "cp2k.inp").write_text(text)
        return cp2k.settings(tmp_path / "cp2k.inp", {})

    return settings


SOURCE = """\
@SET CUT 300 ! Ry
@SET NAME CUTOFF
@SET ON 1
&FORCE_EVAL
&DFT
&MGRID
{}
&END
&END
&END
"""
LINES = {
    # as cp2k.psmp -e of 2023.1 takes them
    "CUTOFF ${CUT}": ["CUTOFF 300"],
    "CUTOFF=300": ["CUTOFF 300"],
    "CUTOFF : 300#x": ["CUTOFF 300"],
    "cutoff\t[eV]\t300 ! x": ["CUTOFF [eV] 300"],
    "${NAME} ${NO-${ON}}": ["CUTOFF 1"],
    "$NAME $ON": ["CUTOFF 1"],
    "CUTOFF \\\n\n! c\n 300": ["CUTOFF 300"],
    "CUTOFF\\\n300": ["CUTOFF 300"],
    "CUTOFF \\ ! x\n 300": ["CUTOFF 300"],
    "CUTOFF 300 ! a@b\nNGRIDS 3": ["NGRIDS 3"],
    "@IF ${CUT} == 300\nCUTOFF 1\n@ENDIF": [],
    "@IF ${ON} == 1 ! c\nCUTOFF 1\n@ENDIF": [],
    "@IF ( ${ON} == 1 ) ! c\nCUTOFF 1\n@ENDIF": ["CUTOFF 1"],
    "@if ${ON}==1\nCUTOFF 1\n@endif": ["CUTOFF 1"],
    "@IF ${ON} /= 1\nCUTOFF 1\n@ENDIF": [],
    "@IF ${ON}\nCUTOFF 1\n@ENDIF": ["CUTOFF 1"],
    "@IF 0\nCUTOFF 1\n@ENDIF": [],
    "@IF (0)\nCUTOFF 1\n@ENDIF": ["CUTOFF 1"],
    "@IF 1\n@IF 1\nCUTOFF 1\n@ENDIF\nNGRIDS 3\n@ENDIF": ["CUTOFF 1", "NGRIDS 3"],
    "@IF 1\n@IF 0\nCUTOFF 1\n@ENDIF\nNGRIDS 3\n@ENDIF": ["NGRIDS 3"],
    "@IF 0\n@IF 1\nCUTOFF 1\n@ENDIF\nNGRIDS 3\n@ENDIF": ["NGRIDS 3"],
    "@IF 0\n@INCLUDE nope\n@ENDIF": [],
}


@pytest.mark.parametrize("text", LINES)
def test_lines_are_read_as_cp2k_reads_them(text: str) -> None:
    root = template.parse(SOURCE.format(text), "x.inp", preprocess.Preprocessor(None))
    mgrid = root.find("FORCE_EVAL/DFT/MGRID")
    assert mgrid is not None
    assert [i.render() if isinstance(i, template.Section) else f"{i.name} {i.value}" for i in mgrid.items] == LINES[
        text
    ]


def test_a_line_that_cp2k_passes_over_is_said(read: Any, tmp_path: Path) -> None:
    read(TEMPLATE.replace("CUTOFF 150", "CUTOFF 150 ! ask me@example.org"))
    assert cp2k.replaced(tmp_path / "cp2k.inp") == ["line 6 (for its @)"]


@pytest.mark.parametrize("end", ["&END SECTION MGRID", "&end mgrid", "&END section", "&END ! x", "&END:MGRID"])
def test_ends_of_sections(read: Any, end: str) -> None:
    assert read(TEMPLATE.replace("&END MGRID", end)) == read(TEMPLATE)


def test_a_long_line_goes_on_in_the_next() -> None:
    numbers = " ".join(map(str, range(2000)))
    text = f"&FORCE_EVAL\n &X\n  LIST {numbers}\n &END X\n&END FORCE_EVAL\n"
    rendered = template.parse(text, "x").render()
    assert max(map(len, rendered.splitlines())) < 450
    again = template.parse(rendered, "x").find("FORCE_EVAL/X")
    assert again is not None
    assert again.get("LIST") == numbers


def test_comments_in_latin_1_and_a_byte_order_mark(read: Any, tmp_path: Path) -> None:
    expected = read(TEMPLATE)
    (tmp_path / "cp2k.inp").write_bytes(b"\xef\xbb\xbf" + TEMPLATE.encode())
    assert cp2k.settings(tmp_path / "cp2k.inp", {}) == expected
    (tmp_path / "cp2k.inp").write_bytes("! in Ångström\n".encode("latin-1") + TEMPLATE.encode())
    assert cp2k.settings(tmp_path / "cp2k.inp", {}) == expected
