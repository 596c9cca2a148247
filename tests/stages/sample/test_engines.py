"""Which engine a measurement leads to, by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from psiflow_cli.errors import UsageError
from psiflow_cli.runtime.task import Outcome
from psiflow_cli.stages.sample.engines import Plan, capable_engines, check, fastest, measured_plan
from psiflow_cli.stages.sample.walkers import Walker

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
    assert "torchsim" in capable_engines({**SETTINGS, "thermostat": "csvr"})
    with pytest.raises(UsageError, match="ase moves one walker after another"):
        check("ase", SETTINGS, 8)


def measured(outcomes: list[Outcome]) -> tuple[Plan, list[dict[str, Any]], int]:
    """The plan for two walkers where the measurement ends so; what is journalled, and how often it was tried."""
    records: list[dict[str, Any]] = []
    left, tasks = list(outcomes), []
    session: Any = SimpleNamespace(executor=SimpleNamespace(workers=1, retries=lambda _: 1), submit=tasks.append)
    session.next = lambda: (tasks[-1], left.pop(0))
    run = SimpleNamespace(journal=SimpleNamespace(append=records.append))
    workspace: Any = SimpleNamespace(context=dict, run=run)
    sampling: Any = SimpleNamespace(dynamics={"exchange": None}, steps=10, weights={}, batch=None, walkers=2)
    start: Any = {"symbols": ["H"], "pbc": [False] * 3}
    walkers = [Walker(number, start, [300.0, 300.0]) for number in range(2)]
    plan = measured_plan(sampling, workspace, session, walkers, ["ase", "torchsim"], "f")
    return plan, records, len(tasks)


def test_a_measurement_that_is_lost_with_its_worker_is_made_again() -> None:
    times = [{"engine": "torchsim", "batch": 2, "seconds": 0.1}]
    plan, (record,), tries = measured([Outcome(lost="its worker died", blame=True), Outcome(value=times)])
    assert (plan.engine, plan.batch, tries) == ("torchsim", 2, 2)
    assert record == {"kind": "plan", "of": "f", "engine": "torchsim", "batch": 2, "now": 2, "paces": times}


@pytest.mark.parametrize("outcome", [Outcome(lost="its worker died", blame=True), Outcome(error="no such file")])
def test_without_a_measurement_the_first_engine_moves_the_walkers(outcome: Outcome) -> None:
    plan, _, _ = measured([outcome] * 2)
    assert (plan.engine, plan.batch) == ("ase", 1)
