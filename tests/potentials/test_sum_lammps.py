"""The LAMMPS input of a sum, as far as it does not need the models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from psiflow_cli.potentials.sum import lammps, terms


@pytest.mark.parametrize(("family", "newton"), [("mace", "on"), ("nequip", "off"), ("allegro", "on")])
def test_newton_is_as_the_pair_style_requires(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str, newton: str
) -> None:
    """pair_style mace and allegro stop without newton on, pair_style nequip with it."""
    dispersion: Any = {"version": "d3bj", "xc": "pbe", "atm": False}
    entries: list[Any] = [
        {"factor": 1.0, "what": "a.model", "family": family, "member": "term-0"},
        {"factor": 1.0, "what": "dftd", "reference": "dftd", "settings": dispersion},
    ]
    monkeypatch.setattr(terms, "read", lambda member, context: [terms.Term(each, tmp_path, {}) for each in entries])
    monkeypatch.setattr(lammps, "_model", lambda term, number, place: "term-0.pt")
    text = (lammps.export("", tmp_path, {}) / "potential.in").read_text()
    assert f"units metal, newton {newton}, " in text
    assert f"pair_coeff * * {family} ${{place}}/term-0.pt ${{elements}}" in text
