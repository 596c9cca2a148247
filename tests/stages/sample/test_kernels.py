"""How the model is computed is said once, and written down for `status`."""

from __future__ import annotations

from types import SimpleNamespace

from psiflow_cli.console import Verbosity
from psiflow_cli.runtime import journal
from psiflow_cli.stages.core.finished_units import FinishedUnits
from psiflow_cli.stages.sample.kernels import Kernels

CHOICE = {
    "path": "cueq", "device": "cuda", "atoms": 1536, "ms": {"eager": 12.0, "cueq": 4.25},
    "refused": {"oeq": "ValueError: forces: 1.0e-01 apart from the model itself"},
    "install": ["cuequivariance-torch cuequivariance-ops-torch-cu12", "openequivariance"],
}  # fmt: skip


def test_a_choice_is_told_once_and_shown(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Verbosity, "verbose", True)
    book = journal.Journal(tmp_path / "journal.jsonl")
    kernels = Kernels(SimpleNamespace(run=SimpleNamespace(journal=book)), "f00d")
    for choice in (None, CHOICE, CHOICE, {**CHOICE, "atoms": 3072}):
        kernels.learn(choice)
    book.close()
    told = capsys.readouterr().err
    hint = "pip install cuequivariance-torch cuequivariance-ops-torch-cu12 or pip install openequivariance"
    assert told.count(hint) == 1
    assert "computed by cueq, the fastest for 1536 atoms (cueq 4.25 ms, eager 12 ms)" in told
    assert "kernels oeq are not used: ValueError: forces" in told
    assert told.count("overrides this") == 2
    units = FinishedUnits()
    units.read(tmp_path / "journal.jsonl")
    assert units.kernels == "cueq, 4.25 ms for 3072 atoms"
