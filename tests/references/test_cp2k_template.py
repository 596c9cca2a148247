"""CP2K templates: what is read, what is left out, what is equal, and where the mistakes are. No CP2K needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from psiflow_cli.errors import BadData, NoInput, UsageError
from psiflow_cli.references import cp2k
from psiflow_cli.references.cp2k.single_point import build

TEMPLATE = """\
&FORCE_EVAL
  METHOD QS
  &DFT
    BASIS_SET_FILE_NAME BASIS_MOLOPT
    &MGRID
      CUTOFF 150
    &END MGRID
  &END DFT
  &SUBSYS
    &KIND O
      BASIS_SET SZV-MOLOPT-GTH
    &END KIND
    &KIND H
      BASIS_SET SZV-MOLOPT-GTH
    &END KIND
  &END SUBSYS
&END FORCE_EVAL
"""


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def settings(text: str, options: dict[str, str] | None = None) -> dict[str, Any]:
        (tmp_path / "cp2k.inp").write_text(text)
        return cp2k.settings(tmp_path / "cp2k.inp", options or {})

    return settings


def test_equal_methods_are_equal(read: Any) -> None:
    other = """
! a comment
@SET CUT 150
&global
  PROJECT water   # another
  RUN_TYPE MD
&end
&Force_Eval
\tMethod\tQS
  STRESS_TENSOR DIAGONAL_ANALYTICAL
  &dft
    Basis_Set_File_Name   BASIS_MOLOPT
    &mgrid
@IF ${CUT} == 300
      CUTOFF 300
@ENDIF
@IF ${CUT} /= 300
      CUTOFF $CUT
@ENDIF
    &END
  &END dft
  &PRINT
    &FORCES ON
    &END
  &END PRINT
  &SUBSYS
    &CELL
      ABC 3*5.0
      MULTIPLE_UNIT_CELL 1 1 1
    &END
    &KIND O
      BASIS_SET \\
        SZV-MOLOPT-GTH
    &END
    &KIND   H
      BASIS_SET SZV-MOLOPT-GTH
    &END
    &COORD
      O 0 0 0
    &END
    &TOPOLOGY
      COORD_FILE_NAME water.xyz
    &END
  &END
&END
&MOTION
  &MD
  &END
&END
"""
    assert cp2k.identity(read(other)) == cp2k.identity(read(TEMPLATE))
    assert json.loads(json.dumps(read(TEMPLATE))) == read(TEMPLATE)


def test_what_was_left_out(read: Any, tmp_path: Path) -> None:
    read("&GLOBAL\n RUN_TYPE MD\n PREFERRED_DIAG_LIBRARY SL\n&END\n" + TEMPLATE + "&MOTION\n&END\n")
    assert cp2k.replaced(tmp_path / "cp2k.inp") == ["&MOTION", "GLOBAL/RUN_TYPE"]
    assert "PREFERRED_DIAG_LIBRARY SL" in read((tmp_path / "cp2k.inp").read_text())["template"]


@pytest.mark.parametrize("change", [("150", "160"), ("METHOD QS", "METHOD QS\nSTRESS_TENSOR NUMERICAL")])
def test_another_method_is_another(read: Any, change: tuple[str, str]) -> None:
    assert read(TEMPLATE.replace(*change)) != read(TEMPLATE)


def test_the_reference_cell_belongs_to_the_method(read: Any) -> None:
    cell = "&SUBSYS\n&CELL\nABC 5 5 5\n&CELL_REF\nABC 6 6 6\n&END\n&END"
    found = read(TEMPLATE.replace("&SUBSYS", cell, 1))["template"]
    assert "ABC 6 6 6" in found
    assert "ABC 5 5 5" not in found


BROKEN = {
    "empty": ("", "1: there is no &FORCE_EVAL"),
    "comment only": ("! nothing\n", "1: there is no &FORCE_EVAL"),
    "a section behind a separator": (
        TEMPLATE.replace("METHOD QS", "METHOD QS\n= &END DFT", 1),
        "3: = &END DFT is neither a keyword nor a section",
    ),
    "not CP2K": ("hello world\n", "1: hello is outside of all sections"),
    "unclosed": ("&FORCE_EVAL\n &DFT\n", "2: the section &DFT is never closed"),
    "wrong end": ("&FORCE_EVAL\n &DFT\n &END SCF\n&END\n", "3: &END SCF closes &DFT, opened on line 2"),
    "one end too many": (TEMPLATE + "&END\n", "18: &END without an open section"),
    "nameless": ("&FORCE_EVAL\n &\n&END\n", "2: a section without a name"),
    "two": (TEMPLATE * 2, "18: a second &FORCE_EVAL"),
    "no DFT": ("&FORCE_EVAL\n&END\n", "1: &FORCE_EVAL has no &DFT"),
    "copies of the cell": (
        TEMPLATE.replace("&SUBSYS", "&SUBSYS\n&TOPOLOGY\nMULTIPLE_UNIT_CELL 2 2 1\n&END", 1),
        "11: MULTIPLE_UNIT_CELL 2 2 1 in &TOPOLOGY: a frame is labelled with exactly its own atoms",
    ),
    "method": (TEMPLATE.replace("METHOD QS", "METHOD FIST"), "2: METHOD FIST"),
    "multiplicity": (TEMPLATE.replace("&MGRID", "MULTIP two\n&MGRID"), "5: MULTIP two is not a whole number"),
    "unset variable": ("\n" + TEMPLATE.replace("150", "${CUT}"), "7: the variable CUT is not set"),
    "endif": ("@ENDIF\n" + TEMPLATE, "1: @ENDIF without @IF"),
    "if": ("@IF 1\n" + TEMPLATE, "1: @IF is never closed"),
    "include": ("@INCLUDE 'nope.inc'\n" + TEMPLATE, "1: @INCLUDE 'nope.inc': no such file"),
    "circle": ("@INCLUDE cp2k.inp\n", "includes itself"),
    "no such XC section": ("@XCTYPE nope\n" + TEMPLATE, "1: @XCTYPE 'nope': no such file"),
    "directive": ("@INCLUD x\n" + TEMPLATE, "1: @INCLUD is not a CP2K directive"),
    "directive without a blank": ("@IF(1)\n@ENDIF\n" + TEMPLATE, "1: @IF(1) is not a CP2K directive"),
}


@pytest.mark.parametrize(("text", "message"), BROKEN.values(), ids=BROKEN)
def test_mistakes_have_a_line(read: Any, text: str, message: str) -> None:
    with pytest.raises(BadData) as caught:
        read(text)
    assert "cp2k.inp:" in caught.value.message
    assert message in caught.value.message


def test_a_binary_file_is_bad_data(tmp_path: Path) -> None:
    (tmp_path / "cp2k.inp").write_bytes(b"\x00\xff\xfe")
    with pytest.raises(BadData, match="not a text file"):
        cp2k.settings(tmp_path / "cp2k.inp", {})


def test_usage(tmp_path: Path, read: Any) -> None:
    with pytest.raises(UsageError, match="needs a CP2K input"):
        cp2k.settings(None, {})
    with pytest.raises(NoInput, match="no such file"):
        cp2k.settings(tmp_path / "nope.inp", {})
    with pytest.raises(UsageError, match="unknown option 'boks'") as caught:
        read(TEMPLATE, {"boks": "1"})
    assert "box" in caught.value.hint
    with pytest.raises(UsageError, match="box=big"):
        read(TEMPLATE, {"box": "big"})


def test_the_frames_input(read: Any, frame: Any) -> None:
    text, stress = build(frame(), read(TEMPLATE))
    for line in ("RUN_TYPE ENERGY_FORCE", "STRESS_TENSOR ANALYTICAL", "A 5.0 0.0 0.0", "H -0.77 0.05 0.57"):
        assert f" {line}\n" in text
    assert text.count("PERIODIC XYZ") == 2
    assert stress


@pytest.mark.parametrize(
    ("method", "state", "there", "absent"),
    [
        ("", {}, [], ["CHARGE", "MULTIPLICITY", "UKS"]),
        ("CHARGE 1", {}, ["CHARGE 1"], ["UKS"]),
        ("CHARGE 1", {"charge": -1}, ["CHARGE -1"], ["CHARGE 1", "UKS"]),
        ("CHARGE 1", {"charge": 0}, ["CHARGE 0"], ["CHARGE 1"]),
        ("MULTIP 3\nLSD", {"multiplicity": 1}, ["MULTIPLICITY 1", "LSD"], ["MULTIP 3", "UKS"]),
        ("", {"multiplicity": 2}, ["MULTIPLICITY 2", "UKS T"], []),
        ("UKS F", {"multiplicity": 2}, ["UKS T"], ["UKS F"]),
        ("ROKS", {"multiplicity": 2}, ["ROKS"], ["UKS"]),
        ("MULTIPLICITY 3", {}, ["UKS T"], []),
    ],
)
def test_charge_and_multiplicity(
    read: Any, frame: Any, method: str, state: dict[str, int], there: list[str], absent: list[str]
) -> None:
    text, _ = build(frame(**state), read(TEMPLATE.replace("&MGRID", method + "\n&MGRID")))
    lines = [line.strip() for line in text.splitlines()]
    assert all(word in lines for word in there)
    assert not any(line.startswith(word) for word in absent for line in lines)


@pytest.mark.parametrize(
    ("said", "periodic", "asked"),
    [("", True, "ANALYTICAL"), ("NUMERICAL", True, "NUMERICAL"), ("NONE", True, "NONE"), ("ANALYTICAL", False, "NONE")],
)
def test_which_stress(read: Any, frame: Any, molecule: Any, said: str, periodic: bool, asked: str) -> None:
    template = TEMPLATE.replace("METHOD QS", f"METHOD QS\nSTRESS_TENSOR {said}" if said else "METHOD QS")
    text, stress = build((frame if periodic else molecule)(), read(template))
    assert f"STRESS_TENSOR {asked}\n" in text
    assert stress is (asked != "NONE")
