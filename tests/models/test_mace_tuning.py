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
    with pytest.raises(UsageError, match=r"r_max 5.0 cannot be: it is 4.0 in the model"):
        mace.plan({}, {"r_max": "5"}, {**SUMMARY, "init": OLD})
    with pytest.raises(UsageError, match=r"correlation 2 cannot be"):
        mace.plan({"correlation": 2}, {}, {**SUMMARY, "init": OLD})


def test_a_model_file_decides_its_architecture_and_may_give_the_energies() -> None:
    tuned = mace.plan({}, {}, {**SUMMARY, "init": {}, "e0s": "init"})
    assert tuned["E0s"] == "foundation"
    assert not {"r_max", "num_channels", "foundation_model_elements"} & set(tuned)
    with pytest.raises(UsageError, match=r"r_max 5.0 cannot be: it is decided by the model"):
        mace.plan({"r_max": 5.0}, {}, {**SUMMARY, "init": {}})
