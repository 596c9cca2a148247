"""What CP2K says of a template that it cannot read, and of which line."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from psiflow_cli.errors import BadData
from psiflow_cli.references import cp2k
from psiflow_cli.references.cp2k import complaint, output
from psiflow_cli.worker.failures import Fatal

TEMPLATE = """\
&FORCE_EVAL
  METHOD QS
  &DFT
    BASIS_SET_FILE_NAME BASIS_MOLOPT
    POTENTIAL_FILE_NAME GTH_POTENTIALS
    &MGRID
      CUTOFF [Ry] 150
    &END MGRID
    &SCF
      ADDED_MOS 2
      EPS_SCF 1e-6
      SCF_GUESS ATOMIC
      &OT ON
        MINIMIZER DIIS
      &END OT
    &END SCF
    &XC
      &XC_FUNCTIONAL PADE
      &END XC_FUNCTIONAL
    &END XC
  &END DFT
  &SUBSYS
    &KIND O
      BASIS_SET SZV-MOLOPT-GTH
      POTENTIAL GTH-PADE-q6
    &END KIND
    &KIND H
      BASIS_SET SZV-MOLOPT-GTH
      POTENTIAL GTH-PADE-q1
    &END KIND
  &END SUBSYS
&END FORCE_EVAL
"""
MISTAKES = {
    "keyword": ("CUTOFF", "CUTOF", 7, "unknown keyword CUTOF in section MGRID"),
    "keyword of OT": ("MINIMIZER", "MINIMISER", 14, "unknown keyword MINIMISER in section OT"),
    "section": ("MINIMIZER DIIS", "&LINESEARCH\n&END", 14, "unknown subsection LINESEARCH of section OT"),
    "value": ("ATOMIC", "ATOMIK", 12, "invalid value for enumeration:ATOMIK"),
    "functional": ("PADE\n", "PAD\n", 18, "invalid value for enumeration:PAD"),
    "unit": ("[Ry]", "[Rydb]", 7, "Unknown unit: Rydb"),
    "wrong unit": ("[Ry]", "[angstrom]", 7, "Incompatible units"),
    "unit cut off": ("[Ry]", "[Ry", 7, "Invalid unit specifier"),
    "no number": ("1e-6", "small", 11, "A floating point type object was expected, found <small>"),
    "no whole number": ("MOS 2", "MOS 1.5", 10, "An integer type object was expected, found <1.5>"),
    "no value": ("EPS_SCF 1e-6", "EPS_SCF", 11, "no value was given and there is no default value (at EPS_SCF)"),
    "no logical": ("&OT ON", "&OT maybe", 13, "found <MAYBE>"),
    "twice": ("EPS_SCF 1e-6", "EPS_SCF 1e-6\nEPS_SCF 1e-7", 12, "Keyword EPS_SCF in section SCF should not repeat"),
    "section twice": ("&XC\n", "&SCF\n&END\n&XC\n", 17, "Section SCF should not repeat (at &SCF)"),
    "one too many": ("1e-6", "1e-6 Ha", 11, "found unexpected extra argument Ha (at 1e-6)"),
}


def settings(folder: Path, there: str, instead: str) -> dict[str, Any]:
    assert there in TEMPLATE
    (folder / "cp2k.inp").write_text(TEMPLATE.replace(there, instead, 1))
    return cp2k.settings(folder / "cp2k.inp", {})


needs_cp2k = pytest.mark.skipif(not shutil.which("cp2k.psmp"), reason="cp2k.psmp is not installed")


@needs_cp2k
@pytest.mark.parametrize(("there", "instead", "line", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_found_before_anything_runs(
    frame: Any,
    context: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    there: str,
    instead: str,
    line: int,
    message: str,
) -> None:
    monkeypatch.setattr(cp2k, "_PATIENCE_S", 120)  # on a busy machine, CP2K may need more than a user should wait
    found = settings(tmp_path, there, instead)
    with pytest.raises(BadData) as caught:
        cp2k.try_out(frame(), found, context())
    assert message in caught.value.message
    assert "File:" not in caught.value.message
    assert cp2k.locate(found, caught.value.message) == f"{tmp_path / 'cp2k.inp'}:{line}"


@needs_cp2k
def test_nothing_is_said_of_a_good_template_or_without_cp2k(frame: Any, context: Any, tmp_path: Path) -> None:
    cp2k.try_out(frame(), settings(tmp_path, "QS", "QS"), context())
    cp2k.try_out(frame(), settings(tmp_path, "CUTOFF", "CUTOF"), context(executable="no-such-program"))


AFTER_THE_START = {
    # what CP2K says after it has read the input, and of which line
    "basis set": ("SZV-MOLOPT-GTH", "NOPE-GTH", 24),
    "potential": ("GTH-PADE-q1", "GTH-PADE-q7", 29),
    "keyword": ("CUTOFF", "CUTOF", 7),
    "removed keyword": ("POTENTIAL GTH-PADE-q6", "POTENTIAL GTH-PADE-q6\nRI_AUX_BASIS_SET x", 26),
    "no potential": ("POTENTIAL GTH-PADE-q6", "", 23),
    "k-points": ("&MGRID", "&KPOINTS\nSCHEME GAMMA\n&END\n&MGRID", 13),
}


@needs_cp2k
@pytest.mark.parametrize(("there", "instead", "line"), AFTER_THE_START.values(), ids=AFTER_THE_START)
def test_what_only_a_run_can_tell_has_its_line_too(
    frame: Any, context: Any, tmp_path: Path, there: str, instead: str, line: int
) -> None:
    found = settings(tmp_path, there, instead)
    with pytest.raises(Fatal) as caught:
        cp2k.label([frame()], found, context())
    assert caught.value.exit_code == 65
    assert cp2k.locate(found, caught.value.message) == f"{tmp_path / 'cp2k.inp'}:{line}"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("No forces/gradients for the selected method.", 18),
        ("Forces for perturbative methods are NYI. Change MINIMIZER", 14),
        ("Extra MOs (ADDED_MOS) are required for it", 10),
        ("Something else that nobody knows", 0),
    ],
)
def test_sections_and_keywords_that_a_complaint_is_about(tmp_path: Path, text: str, line: int) -> None:
    found = settings(tmp_path, "&XC_FUNCTIONAL PADE", "&WF_CORRELATION\n&END\n&XC_FUNCTIONAL PADE")
    assert cp2k.locate(found, text) == (f"{tmp_path / 'cp2k.inp'}:{line}" if line else "")


@needs_cp2k
@pytest.mark.parametrize(("charge", "multiplicity", "message"), [(1, None, "odd number"), (1, 3, "multiplicity")])
def test_electrons_that_do_not_fit(
    frame: Any, context: Any, tmp_path: Path, charge: int, multiplicity: int | None, message: str
) -> None:
    state = {"charge": charge} if multiplicity is None else {"charge": charge, "multiplicity": multiplicity}
    (label,) = cp2k.label([frame(**state)], settings(tmp_path, "QS", "QS"), context())
    assert label["failure"] == "invalid-input"
    assert message in label["message"]
    asked = f"(the frame has charge 1 and multiplicity {multiplicity or 'none'}; change those of the frame, or set"
    assert asked in label["message"]


@needs_cp2k
def test_a_mistake_in_an_included_file(frame: Any, context: Any, tmp_path: Path) -> None:
    (tmp_path / "scf.inc").write_text("! steps\nMAX_SFC 20\n")
    found = settings(tmp_path, "ADDED_MOS 2", "@INCLUDE scf.inc")
    with pytest.raises(BadData) as caught:
        cp2k.try_out(frame(), found, context())
    assert cp2k.locate(found, caught.value.message) == f"{tmp_path / 'scf.inc'}:2"


IN_A_FIELD = TEMPLATE.replace("ADDED_MOS 2", "MAX_SCF 50").replace("DIIS", "DIIS\nPRECONDITIONER FULL_ALL")
FIELD = "&PERIODIC_EFIELD\nINTENSITY 0.001\nPOLARISATION 0 0 1\n&END\n&MGRID"


@needs_cp2k
def test_a_stress_that_cp2k_lacks_is_left_out_unless_asked_for(frame: Any, context: Any, tmp_path: Path) -> None:
    pytest.importorskip("ase", reason="ASE is not installed")
    (tmp_path / "cp2k.inp").write_text(IN_A_FIELD.replace("&MGRID", FIELD, 1))
    for _ in range(2):
        (label,) = cp2k.label([frame()], cp2k.settings(tmp_path / "cp2k.inp", {}), context())
        assert "failure" not in label, label
        assert label["stress"] is None
    (tmp_path / "cp2k.inp").write_text(
        IN_A_FIELD.replace("&MGRID", FIELD, 1).replace("METHOD QS", "METHOD QS\nSTRESS_TENSOR ANALYTICAL")
    )
    with pytest.raises(Fatal, match="Stress tensor for periodic E-field not implemented"):
        cp2k.label([frame()], cp2k.settings(tmp_path / "cp2k.inp", {}), context())


def test_complaints_without_the_place_in_a_file_that_is_gone() -> None:
    place = ", File: 'psiflow.inp', Line: 14, Column: 1, Chunk: <EPS_SCF>"
    assert complaint.tidy(f"no value was given{place}") == "no value was given (at EPS_SCF)"
    assert complaint.tidy("Section SCF should not repeat , File: 'x', Line: 1, Column: 2") == (
        "Section SCF should not repeat"
    )
    assert complaint.tidy("nothing of the kind") == "nothing of the kind"
    assert output.no_stress("") == ""
