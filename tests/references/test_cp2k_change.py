"""Changes of a template that a user declares, for frames whose SCF does not converge."""

from __future__ import annotations

from pathlib import Path

import pytest

from psiflow_cli.errors import UsageError
from psiflow_cli.references import cp2k
from psiflow_cli.references.cp2k import template


def test_a_declared_change_sets_adds_and_removes(tmp_path: Path) -> None:
    (tmp_path / "cp2k.inp").write_text("&FORCE_EVAL\n&DFT\n&SCF\nMAX_SCF 25\n&OT\n&END\n&END\n&END\n&END\n")
    before = cp2k.settings(tmp_path / "cp2k.inp", {})
    path = "FORCE_EVAL/DFT/SCF/"
    after = cp2k.changed(before, {f"{path}max_scf": "200", f"{path}MIXING/ALPHA": "0.1", f"{path}OT": ""})
    scf = template.only(template.parse(after["template"], "x"), "FORCE_EVAL").ensure("DFT/SCF")
    assert scf.get("MAX_SCF") == "200"
    assert scf.ensure("MIXING").get("ALPHA") == "0.1"
    assert not scf.sections("OT")
    assert {k: v for k, v in after.items() if k != "template"} == {k: v for k, v in before.items() if k != "template"}


@pytest.mark.parametrize(
    ("path", "value", "what"),
    [
        ("MAX_SCF", "2", "is not the path"),
        ("FORCE_EVALL/DFT/CHARGE", "1", "is not the path"),
        ("GLOBAL/RUN_TYPE", "MD", "is set by"),
        ("FORCE_EVAL/SUBSYS/CELL/ABC", "1 2 3", "is set by"),
        ("FORCE_EVAL/DFT/SCF/OT", "", "is not in the input"),
    ],
)
def test_a_change_that_cannot_be_is_wrong_usage(tmp_path: Path, path: str, value: str, what: str) -> None:
    (tmp_path / "cp2k.inp").write_text("&FORCE_EVAL\n&DFT\n&END\n&END\n")
    with pytest.raises(UsageError, match=what):
        cp2k.changed(cp2k.settings(tmp_path / "cp2k.inp", {}), {path: value})
