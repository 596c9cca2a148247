"""A model bundle as a reference: its own numbers, the mean of a committee, and a fingerprint that a copy keeps."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from psiflow_cli.errors import BadData, NoInput, UsageError
from psiflow_cli.references import emt, model
from tests.contracts import emt_family

pytest.importorskip("ase", reason="the family of these tests needs ASE")
COPPER: dict[str, Any] = {
    "id": "0123456789abcdef",
    "symbols": ["Cu", "Au"],
    "positions": [[0.0, 0.0, 0.0], [2.4, 0.1, 0.0]],
    "cell": None,
    "pbc": [False] * 3,
}


def test_a_committee_labels_with_its_mean(context: Any, tmp_path: Path) -> None:
    settings = model.settings(emt_family.bundle(tmp_path / "two.model", (1.0, 2.0)), {})
    (label,) = model.label([COPPER], settings, context())
    (plain,) = emt.label([COPPER], {}, {})
    assert label["energy"] == pytest.approx(plain["energy"] + 1.5, abs=1e-12)
    assert label["forces"] == plain["forces"]
    assert set(label) == {"energy", "forces", "stress", "code"}


def test_a_copy_is_the_same_reference(tmp_path: Path) -> None:
    first = emt_family.bundle(tmp_path / "a.model")
    copy = shutil.copytree(first, tmp_path / "b.model")
    one, two = (model.settings(path, {}) for path in (first, copy))
    assert one != two
    assert model.identity(one) == model.identity(two)
    other = model.settings(emt_family.bundle(tmp_path / "c.model", (3.0,)), {})
    assert model.identity(other) != model.identity(one)
    assert model.identity(model.settings(first, {"dtype": "float32"})) != model.identity(one)
    assert model.runs_as(one) == (emt_family.__file__, "evaluate")


def test_the_sites_precision_does_not_decide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def evaluate(frames: Any, family: str, members: list[str], context: dict[str, Any]) -> list[dict[str, Any]]:
        seen.append(context["dtype"])
        return [{"failure": "crashed", "message": "", "log": ""} for _ in frames]

    monkeypatch.setattr(model.committee, "evaluate", evaluate)
    path = emt_family.bundle(tmp_path / "a.model")
    for options in ({}, {"dtype": "float64"}):
        model.label([COPPER], model.settings(path, options), {"dtype": "float32"})
    assert seen == [None, "float64"]


def test_what_is_no_model(tmp_path: Path) -> None:
    path = emt_family.bundle(tmp_path / "a.model")
    with pytest.raises(UsageError, match="dtype=half"):
        model.settings(path, {"dtype": "half"})
    with pytest.raises(NoInput):
        model.settings(tmp_path / "none.model", {})
    (path / "member-0" / "shift.json").write_text("7.0")
    with pytest.raises(BadData, match="sha256"):
        model.settings(path, {})
