"""Temperatures of walkers: ramps, the steps at which walkers meet, and exchanges that keep every distribution."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import pytest

np = pytest.importorskip("numpy")

from psiflow_cli.worker.md import replica_exchange, velocities  # noqa: E402

LADDER = (300.0, 400.0, 520.0)
PAIRS = ((300.0, 400.0), (400.0, 520.0))
SHAPE = 3.0
"""Of the energies: those of six harmonic coordinates are gamma-distributed, with a scale of kT."""


@dataclass
class Replica:
    """A walker of which only the energy is known."""

    number: int
    temperatures: list[float]
    energy: float = 0.0
    step: int = 10
    stopped: Any = None
    factors: list[float] = field(default_factory=list)

    def scale_momenta(self, factor: float) -> None:
        self.factors.append(factor)


def ladder(*temperatures: float) -> list[Replica]:
    return [Replica(number, [kelvin, kelvin]) for number, kelvin in enumerate(temperatures)]


def job(**changes: Any) -> dict[str, Any]:
    return {"seed": 3, "exchange": 10, "block": 100, "steps": 1000, "ramp_steps": None, **changes}


def test_exchanges_keep_the_distribution_at_each_temperature() -> None:
    """Of energies that are drawn again for each trial; and as many are accepted as theory says.

    For two gamma distributions that is 2 P(U1 > U2), twice an incomplete beta function, as each exchange that is
    certain has a reverse that is not.
    """
    special, stats = pytest.importorskip("scipy.special"), pytest.importorskip("scipy.stats")
    rng, walkers = np.random.default_rng(0), ladder(*LADDER)
    taken: dict[float, list[float]] = {kelvin: [] for kelvin in LADDER}
    tried, done = dict.fromkeys(PAIRS, 0), dict.fromkeys(PAIRS, 0)
    for trial in range(1, 6001):
        for each in walkers:
            each.step = 10 * trial
            each.energy = float(rng.gamma(SHAPE, velocities.KB * each.temperatures[0]))
        before = {each.temperatures[0]: each.number for each in walkers}
        replica_exchange.exchange(job(), 10 * trial, walkers)
        after = {each.temperatures[0]: each.number for each in walkers}
        assert set(after) == set(LADDER)
        pair = PAIRS[trial % 2]
        tried[pair] += 1
        done[pair] += before[pair[0]] == after[pair[1]] != after[pair[0]]
        for each in walkers:
            taken[each.temperatures[0]].append(each.energy)
    for kelvin, energies in taken.items():
        assert stats.kstest(energies, stats.gamma(SHAPE, scale=velocities.KB * kelvin).cdf).pvalue > 1e-3
    for (cold, hot), trials in tried.items():
        wanted = 2.0 * special.betainc(SHAPE, SHAPE, cold / (cold + hot))
        assert abs(done[cold, hot] / trials - wanted) < 4 * math.sqrt(wanted * (1 - wanted) / trials)


def test_every_pair_has_its_turn() -> None:
    """Energies that make each exchange certain: the even pairs, then the odd ones; two replicas each time."""
    for count, turns in ((2, [{0, 1}, {0, 1}]), (3, [{1, 2}, {0, 1}]), (5, [{1, 2, 3, 4}, {0, 1, 2, 3}])):
        for index, moved in enumerate(turns):
            walkers = ladder(*(300.0 + 50 * n for n in range(count)))
            for each in walkers:
                each.energy, each.step = -float(each.number), 10 * (index + 1)
            replica_exchange.exchange(job(), 10 * (index + 1), walkers)
            assert {each.number for each in walkers if each.factors} == moved


def test_temperatures_are_swapped_and_momenta_scaled_to_them() -> None:
    cold, hot = walkers = ladder(300.0, 480.0)
    cold.energy = 1.0
    replica_exchange.exchange(job(), 10, walkers)
    assert (cold.temperatures, hot.temperatures) == ([480.0, 480.0], [300.0, 300.0])
    assert cold.factors == [pytest.approx(math.sqrt(1.6))]
    assert hot.factors == [pytest.approx(math.sqrt(1 / 1.6))]


def test_an_exchange_far_uphill_does_not_take_place() -> None:
    cold, hot = walkers = ladder(300.0, 480.0)
    hot.energy = 50.0
    replica_exchange.exchange(job(), 10, walkers)
    assert not cold.factors
    assert not hot.factors


def test_who_is_stopped_or_elsewhere_has_no_part() -> None:
    walkers = ladder(300.0, 400.0, 500.0)
    walkers[0].energy, walkers[1].energy, walkers[2].energy = 2.0, math.nan, 1.0
    walkers[1].stopped = {"kind": "nan"}
    replica_exchange.exchange(job(), 10, walkers)
    assert [each.temperatures[0] for each in walkers] == [500.0, 400.0, 300.0]
    walkers[0].step = 9
    replica_exchange.exchange(job(), 10, walkers)
    assert [each.temperatures[0] for each in walkers] == [500.0, 400.0, 300.0]


@pytest.mark.parametrize(("changes", "step"), [({"exchange": None}, 10), ({}, 9), ({"exchange": 3}, 10)])
def test_between_two_trials_nothing_happens(changes: dict[str, Any], step: int) -> None:
    walkers = ladder(300.0, 400.0)
    walkers[0].energy = 5.0
    for each in walkers:
        each.step = step
    replica_exchange.exchange(job(**changes), step, walkers)
    assert not walkers[0].factors


def test_what_is_drawn_follows_from_seed_step_and_pair() -> None:
    def drawn(seed: int, step: int) -> list[bool]:
        found = []
        for number in range(40):
            walkers = [Replica(number, [300.0] * 2, 0.0, step), Replica(number + 100, [400.0] * 2, 0.06, step)]
            replica_exchange.exchange(job(seed=seed), step, walkers)
            found.append(bool(walkers[0].factors))
        return found

    first = drawn(3, 10)
    assert drawn(3, 10) == first
    assert 5 < sum(first) < 35
    assert drawn(4, 10) != first != drawn(3, 20)


def test_walkers_meet_at_each_exchange_and_at_the_end_of_a_block() -> None:
    assert list(replica_exchange.meeting_steps(job(block=25), [0, 0])) == [10, 20, 25]
    assert list(replica_exchange.meeting_steps(job(block=25), [25, 25])) == [30, 40, 50]
    assert list(replica_exchange.meeting_steps(job(block=25, exchange=None), [5])) == [30]
    assert list(replica_exchange.meeting_steps(job(steps=12), [0])) == [10, 12]
    assert list(replica_exchange.meeting_steps(job(steps=12), [12])) == []
    assert list(replica_exchange.meeting_steps(job(), [])) == []
