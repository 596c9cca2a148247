"""The defaults of a MACE training that starts from a model."""

from __future__ import annotations

import pytest

from psiflow_cli.errors import UsageError
from psiflow_cli.models import mace
from tests.models.test_mace import SUMMARY, Wire

OLD: Wire = mace.plan({"r_max": 4.0, "num_channels": 16}, {}, {**SUMMARY, "dtype": "float32"})


def test_the_architecture_stays_and_the_steps_are_smaller_and_fewer() -> None:
    scratch, tuned = mace.plan({}, {}, SUMMARY), mace.plan({}, {}, {**SUMMARY, "init": OLD})
    assert (tuned["r_max"], tuned["num_channels"], tuned["default_dtype"]) == (4.0, 16, "float32")
    assert tuned["lr"] < scratch["lr"]
    assert tuned["max_num_epochs"] < scratch["max_num_epochs"] / 2
    assert 0 < tuned["start_swa"] < tuned["max_num_epochs"]
    assert 0 < tuned["patience"] < tuned["max_num_epochs"]
    assert (tuned["E0s"], tuned["batch_size"]) == (scratch["E0s"], scratch["batch_size"])


def test_the_user_wins_but_for_the_architecture() -> None:
    tuned = mace.plan({"lr": 0.02, "r_max": 4.0}, {"max_num_epochs": "8", "swa": "no"}, {**SUMMARY, "init": OLD})
    assert (tuned["lr"], tuned["max_num_epochs"], tuned["swa"]) == (0.02, 8, False)
    assert "start_swa" not in tuned
    with pytest.raises(UsageError, match=r"r_max 5.0 is not possible: it is 4.0 in the model"):
        mace.plan({}, {"r_max": "5"}, {**SUMMARY, "init": OLD})
    with pytest.raises(UsageError, match=r"correlation 2 is not possible"):
        mace.plan({"correlation": 2}, {}, {**SUMMARY, "init": OLD})


def test_a_model_file_decides_its_architecture_and_may_give_the_energies() -> None:
    tuned = mace.plan({}, {}, {**SUMMARY, "init": {}, "e0s": "init"})
    assert tuned["E0s"] == "foundation"
    assert not {"r_max", "num_channels", "foundation_model_elements"} & set(tuned)
    with pytest.raises(UsageError, match=r"r_max 5.0 is not possible: it is decided by the model"):
        mace.plan({"r_max": 5.0}, {}, {**SUMMARY, "init": {}})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"lr": 1e-3, "ema_decay": 0.999, "clip_grad": 1.0, "energy_weight": 10.0, "forces_weight": 10.0}),
        ({"freeze": "5"}, {"lr": 1e-3, "freeze": 5}),
        ({"lora": "true", "lora_rank": "8"}, {"lr": 1e-2, "ema_decay": 0.99, "clip_grad": 10.0, "lora_rank": 8}),
        ({"lr": "0.02", "ema_decay": "0.9"}, {"lr": 0.02, "ema_decay": 0.9}),
    ],
)
def test_a_model_file_is_fine_tuned_as_its_guide_advises(given: dict[str, str], expected: Wire) -> None:
    tuned = mace.plan({}, given, {**SUMMARY, "init": {}, "head": "pbe"})
    assert {key: tuned[key] for key in expected} == expected
    assert (tuned["weight_decay"], tuned["swa"], tuned["foundation_head"]) == (0.0, False, "pbe")
    assert not [key for key in tuned if key.startswith(("swa_", "start_swa"))]
    (note,) = mace.notes(tuned, {**SUMMARY, "init": {}})
    assert f"lr {expected['lr']:g}" in note


def test_a_second_stage_is_the_users_to_ask_for() -> None:
    tuned = mace.plan({}, {"start_swa": "7", "max_num_epochs": "9"}, {**SUMMARY, "init": {}})
    assert (tuned["swa"], tuned["start_swa"]) == (True, 7)


@pytest.mark.parametrize(
    ("given", "more", "problem"),
    [
        ({"freeze": "5"}, {}, "freeze: has no effect without a model"),
        ({"lora": "yes"}, {}, "lora: has no effect without a model"),
        ({}, {"e0s": "estimated"}, "--e0s estimated: this needs a model"),
        ({"multiheads_finetuning": "true"}, {"init": {}}, "multiheads_finetuning: true is not possible"),
        ({"pt_train_file": "mp.xyz"}, {"init": {}}, "pt_train_file: would have no effect"),
        ({"foundation_model": "small"}, {}, "foundation_model: psiflow sets this"),
        ({"foundation_model_elements": "true"}, {"init": {}}, "would have an atomic energy of 0 eV"),
    ],
)
def test_what_mace_would_leave_out_is_refused(given: dict[str, str], more: Wire, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        mace.plan({}, given, {**SUMMARY, **more})
