"""Which batches a measurement tries, on a clock of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.md import benchmark

JOB: dict[str, Any] = {"walkers": [{"walker": i} for i in range(64)], "steps": 1000, "exchange": 10}


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make an engine of which a step of N walkers takes `law(N)` seconds."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: clock.now)

    def make(name: str, law: Callable[[int], float], batched: bool = True) -> None:
        def advance(job: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
            assert job["exchange"] is None
            assert len(job["walkers"]) == job["batch"]
            clock.now += law(len(job["walkers"])) * job["block"]
            return {}

        monkeypatch.setitem(sys.modules, name, SimpleNamespace(BATCHED=batched, advance=advance))

    return make


def tried(found: list[dict[str, Any]]) -> list[tuple[str, int, float]]:
    return [(each["engine"], each["batch"], round(each["seconds"], 9)) for each in found]


def measure(share: int, batch: int | None = None, **engines: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = benchmark.measure(JOB, engines, share, batch, {"scratch": ""})["times"]
    return found


def test_batches_grow_as_long_as_each_walker_gains(engine: Callable[..., None]) -> None:
    engine("alone", lambda n: 0.01, batched=False)
    engine("many", lambda n: 0.01 if n <= 4 else 0.01 * n / 4)
    found = tried(measure(64, ase="alone", many="many"))
    assert found == [("ase", 1, 0.01), ("many", 1, 0.01), ("many", 2, 0.01), ("many", 4, 0.01), ("many", 8, 0.02)]


def test_no_batch_is_larger_than_a_workers_share(engine: Callable[..., None]) -> None:
    engine("many", lambda n: 0.01)
    assert [each["batch"] for each in measure(6, many="many")] == [1, 2, 4, 6]
    assert [each["batch"] for each in measure(6, batch=5, many="many")] == [5]


def test_a_slow_model_is_not_measured_for_long(engine: Callable[..., None]) -> None:
    engine("many", lambda n: 1.0)
    assert [each["batch"] for each in measure(64, many="many")] == [1, 2]


def test_an_engine_that_is_not_installed_is_left_out_unless_it_is_the_only_one(engine: Callable[..., None]) -> None:
    def missing(_: int) -> float:
        raise Fatal("torch-sim is not installed", "pip install it")

    engine("alone", lambda n: 0.01, batched=False)
    engine("many", missing)
    found = benchmark.measure(JOB, {"ase": "alone", "many": "many"}, 8, None, {"scratch": ""})
    assert tried(found["times"]) == [("ase", 1, 0.01)]
    assert found["left_out"] == {"many": "torch-sim is not installed (pip install it)"}
    with pytest.raises(Fatal, match="not installed"):
        measure(8, many="many")


def test_a_batch_that_fails_leaves_the_smaller_ones_and_says_why(engine: Callable[..., None]) -> None:
    def small(walkers: int) -> float:
        if walkers > 2:
            raise RuntimeError("no kernel for so many pairs")
        return 0.01

    engine("alone", lambda n: 0.01, batched=False)
    engine("many", small)
    found = benchmark.measure(JOB, {"ase": "alone", "many": "many"}, 8, None, {"scratch": ""})
    assert tried(found["times"]) == [("ase", 1, 0.01), ("many", 1, 0.01), ("many", 2, 0.01)]
    assert found["left_out"] == {"many": "no kernel for so many pairs"}


def test_a_batch_is_tried_however_slow_the_first_engine_was(engine: Callable[..., None]) -> None:
    """A model that takes long to load, as on a GPU, would leave its walkers one after another otherwise."""
    engine("alone", lambda n: 2.0, batched=False)
    engine("many", lambda n: 2.5)
    assert tried(measure(8, ase="alone", many="many")) == [("ase", 1, 2.0), ("many", 4, 2.5)]
    assert tried(measure(8, batch=6, ase="alone", many="many")) == [("ase", 1, 2.0), ("many", 6, 2.5)]
