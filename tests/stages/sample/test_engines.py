"""Which engine a measurement leads to, by hand."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from psiflow_cli import registry
from psiflow_cli.errors import UsageError
from psiflow_cli.runtime.task import Outcome
from psiflow_cli.stages.sample.engines import Plan, capable_engines, check, fastest, measured_plan
from psiflow_cli.stages.sample.walkers import Walker

ROOT = Path(__file__).parents[3]
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
    with pytest.raises(UsageError, match="torchsim: only i-PI has path integrals"):
        check("torchsim", {**SETTINGS, "beads": 4}, None)
    assert "torchsim" in capable_engines({**SETTINGS, "thermostat": "csvr"})
    with pytest.raises(UsageError, match="ase moves one walker at a time"):
        check("ase", SETTINGS, 8)


def measured(outcomes: list[Outcome], walkers: int = 2, device: str = "cpu") -> tuple[Plan, list[dict[str, Any]], int]:
    """The plan for some walkers where the measurement ends so; what is journalled, and how often it was tried."""
    records: list[dict[str, Any]] = []
    left, tasks = list(outcomes), []
    session: Any = SimpleNamespace(executor=SimpleNamespace(workers=1, retries=lambda _: 1), submit=tasks.append)
    session.next = lambda: (tasks[-1], left.pop(0))
    run = SimpleNamespace(journal=SimpleNamespace(append=records.append))
    workspace: Any = SimpleNamespace(context=lambda: {"device": device}, run=run)
    sampling: Any = SimpleNamespace(dynamics={"exchange": None}, steps=10, weights={}, batch=None, walkers=walkers)
    start: Any = {"symbols": ["H"], "pbc": [False] * 3}
    all_walkers = [Walker(number, start, [300.0, 300.0]) for number in range(walkers)]
    plan = measured_plan(sampling, workspace, session, all_walkers, ["ase", "torchsim"], "f")
    return plan, records, len(tasks)


def test_a_measurement_that_is_lost_with_its_worker_is_made_again() -> None:
    times = [{"engine": "torchsim", "batch": 2, "seconds": 0.1}]
    value = {"times": times, "left_out": {}}
    plan, (record,), tries = measured([Outcome(lost="its worker died", blame=True), Outcome(value=value)])
    assert (plan.engine, plan.batch, tries) == ("torchsim", 2, 2)
    assert record == {"kind": "plan", "of": "f", "engine": "torchsim", "batch": 2, "now": 2, "paces": times}


@pytest.mark.parametrize("outcome", [Outcome(lost="its worker died", blame=True), Outcome(error="no such file")])
def test_without_a_measurement_the_first_engine_moves_the_walkers(
    outcome: Outcome, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, _, _ = measured([outcome] * 2)
    assert (plan.engine, plan.batch) == ("ase", 1)
    assert "psiflow: using engine ase: the engines could not be compared: " in capsys.readouterr().err


def test_what_ase_can_do_the_batched_engine_can_do_as_well() -> None:
    """So it is left out by a measurement only, which has a line for each reason."""
    engines = [registry.load("samplers", name) for name in ("ase", "torchsim")]
    ensembles, thermostats = ("nve", "nvt", "npt", "nvst"), ("langevin", "csvr", "nose-hoover", "other")
    for ensemble, thermostat, beads in itertools.product(ensembles, thermostats, (1, 4)):
        settings = {**SETTINGS, "ensemble": ensemble, "thermostat": thermostat, "beads": beads}
        ase, torchsim = (engine.refuses(settings) for engine in engines)
        assert bool(ase) == bool(torchsim), (settings, ase, torchsim)


def test_a_line_says_why_the_batched_engine_is_not_used(capsys: pytest.CaptureFixture[str]) -> None:
    why = "torch-sim is not installed (pip install it)"
    value = {"times": paces(1.0), "left_out": {"torchsim": why}}
    plan, _, _ = measured([Outcome(value=value)])
    assert plan.engine == "ase"
    assert capsys.readouterr().err == f"psiflow: engine torchsim is not used: {why}\n"
    value = {"times": paces(1.0, (1, 0.9), (2, 1.0)), "left_out": {"torchsim": "no kernel for so many pairs"}}
    assert measured([Outcome(value=value)])[0] == Plan("torchsim", 2, 2)
    line = "psiflow: engine torchsim is not used with more than 2 walkers at once: no kernel for so many pairs\n"
    assert capsys.readouterr().err == line


def test_one_walker_is_measured_on_a_gpu_only() -> None:
    """On a CPU one walker of ASE's costs the model's calls and next to nothing else; on a GPU that is not so."""
    value = {"times": paces(1.0, (1, 0.5)), "left_out": {}}
    plan, _, tries = measured([Outcome(value=value)], walkers=1, device="cuda")
    assert (plan.engine, tries) == ("torchsim", 1)
    plan, _, tries = measured([], walkers=1)
    assert (plan.engine, tries) == ("ase", 0)


MORE: dict[str, dict[str, Any]] = {
    **{"": {}, "--exchange": {"exchange": 10}, "--beads": {"beads": 4}, "--plumed": {"plumed": "PRINT"}},
}


def documented() -> dict[tuple[str, str, str], set[str]]:
    """{(ensemble, thermostat, option): engines}, by the table of the page."""
    rows = [line.split("|")[1:-1] for line in (ROOT / "docs/engines.md").read_text().splitlines() if line[:2] == "| "]
    return {
        (ensemble, thermostat, "".join(re.findall("`(.*?)`", more))): set(re.findall("`(.*?)`", engines))
        for ensembles, thermostats, more, engines in rows[1:]
        for ensemble in re.findall("`(.*?)`", ensembles)
        for thermostat in re.findall("`(.*?)`", thermostats) or [""]
    }


def test_the_page_says_what_each_engine_does() -> None:
    said = documented()
    for (ensemble, thermostat, more), engines in said.items():
        settings: Any = {**SETTINGS, "ensemble": ensemble, "thermostat": thermostat or "langevin", **MORE[more]}
        assert set(capable_engines(settings)) == engines
    for ensemble, thermostat in itertools.product(("nvt", "npt", "nvst"), ("langevin", "csvr", "nose-hoover")):
        for more, change in MORE.items():
            settings = {**SETTINGS, "ensemble": ensemble, "thermostat": thermostat, **change}
            if (ensemble, thermostat, more) not in said and (ensemble == "nvt" or more != "--exchange"):
                with pytest.raises(UsageError, match="no engine can do this"):
                    capable_engines(settings)
