"""Allegro: what it does not share with NequIP. The contract tests train it and compare its predictions."""

from __future__ import annotations

from typing import Any

import pytest

from psiflow_cli.errors import UsageError
from psiflow_cli.models import allegro, nequip

SUMMARY: dict[str, Any] = {
    "elements": ["C", "H"], "frames": 450, "valid_frames": 50, "stress": False, "some_stress": False, "periodic": False,
    "e0s": {"H": -13.6, "C": -1029.5},
}  # fmt: skip


def test_it_has_its_own_architecture_and_nothing_else() -> None:
    own, shared = allegro.plan({}, {}, SUMMARY), nequip.plan({}, {}, SUMMARY)
    model = own["training_module"].pop("model")
    assert model["_target_"] == "allegro.model.AllegroModel"
    assert model["per_type_energy_shifts"] == shared["training_module"].pop("model")["per_type_energy_shifts"]
    assert own == shared
    set_ = allegro.plan({}, {"num_tensor_features": "4"}, SUMMARY)["training_module"]["model"]
    assert set_ == {**model, "num_tensor_features": 4}
    with pytest.raises(UsageError, match=r"num_features: allegro\.model\.AllegroModel has no such key"):
        allegro.plan({}, {"num_features": "8"}, SUMMARY)


def test_its_environment_is_that_of_nequip() -> None:
    assert allegro.EXTRA == "nequip"
    assert set(nequip.REQUIRES) < set(allegro.REQUIRES)


def test_the_trainer_is_named_with_both_versions() -> None:
    pytest.importorskip("allegro", reason="nequip-allegro is not installed")
    from psiflow_cli.models.nequip import trainer

    words = trainer._trainer(allegro.plan({}, {}, SUMMARY)).split()
    assert [words[i] for i in (0, 2, 3)] == ["nequip-allegro", "with", "nequip"]
    assert trainer._trainer(nequip.plan({}, {}, SUMMARY)).split()[0] == "nequip"
