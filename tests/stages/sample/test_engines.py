"""Which engine a measurement leads to, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from psiflow_cli.errors import UsageError
from psiflow_cli.stages.sample.engines import capable_engines, check, fastest

SETTINGS: dict[str, Any] = {"ensemble": "nvt", "thermostat": "langevin", "beads": 1, "plumed": None, "exchange": None}


def paces(alone: float, *batches: tuple[int, float]) -> list[dict[str, Any]]:
    return [
        *({"engine": "torchsim", "batch": size, "seconds": seconds} for size, seconds in batches),
        {"engine": "ase", "batch": 1, "seconds": alone},
    ]


@pytest.mark.parametrize(
    ("measured", "walkers", "workers", "plan"),
    [
        (paces(1.0, (1, 1.0), (8, 2.0)), 8, 1, ("torchsim", 8)),
        (paces(1.0, (1, 1.0), (8, 9.0)), 8, 1, ("ase", 1)),  # slower in a batch
        (paces(1.0, (1, 0.97), (8, 7.9)), 8, 1, ("ase", 1)),  # next to no gain
        (paces(1.0, (1, 0.5), (8, 7.0)), 8, 1, ("torchsim", 1)),
        (paces(1.0, (4, 2.0), (8, 3.9)), 8, 2, ("torchsim", 4)),  # both workers have something to do
        (paces(1.0, (8, 2.0)), 8, 8, ("ase", 1)),  # a worker for each
        (paces(1.0), 8, 1, ("ase", 1)),  # nothing else is installed
        ([{"engine": "torchsim", "batch": 2, "seconds": 1.0}], 8, 1, ("torchsim", 2)),  # asked for
    ],
)
def test_the_fastest(measured: Any, walkers: int, workers: int, plan: tuple[str, int]) -> None:
    found = fastest(measured, walkers, workers)
    assert found is not None
    assert (found.engine, found.batch, found.now) == (*plan, plan[1])


def test_walkers_that_exchange_stay_together() -> None:
    """Four in a task: one after another they take four steps' time."""
    found = fastest(paces(1.0, (4, 3.0)), 8, 2, together=4)
    assert found is not None
    assert found.engine == "torchsim"
    assert fastest([], 8, 2) is None


def test_an_engine_that_cannot_is_refused_with_its_reason() -> None:
    check("torchsim", SETTINGS, 8)
    with pytest.raises(UsageError, match="torchsim: torch-sim's frames are periodic in all"):
        check("torchsim", {**SETTINGS, "slab": True}, None)
    assert "torchsim" not in capable_engines({**SETTINGS, "charged": True})
    assert "torchsim" in capable_engines({**SETTINGS, "thermostat": "csvr"})
    with pytest.raises(UsageError, match="ase moves one walker after another"):
        check("ase", SETTINGS, 8)
