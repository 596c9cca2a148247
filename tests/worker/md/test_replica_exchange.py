"""Temperatures of walkers: ramps, the steps at which walkers meet, and exchanges that keep every distribution."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import pytest

np = pytest.importorskip("numpy")

from psiflow_cli.worker.md import replica_exchange, velocities  # noqa: E402
from psiflow_cli.worker.structures.units import BAR  # noqa: E402

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
    conditions: Any = None
    volume: float = math.nan
    bias: Any = None
    trials: dict[str, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.conditions = self.conditions or {"walker": self.number, "temperature": self.temperatures}

    @property
    def pressure(self) -> float:
        return float(self.conditions["pressure"])

    def swap_conditions(self, other: Replica) -> None:
        self.conditions, other.conditions = other.conditions, self.conditions
        self.temperatures, other.temperatures = self.conditions["temperature"], other.conditions["temperature"]
        self.bias, other.bias = other.bias, self.bias

    def scale_momenta(self, factor: float) -> None:
        self.factors.append(factor)


def ladder(*temperatures: float) -> list[Replica]:
    return [Replica(number, [kelvin, kelvin]) for number, kelvin in enumerate(temperatures)]


def job(walkers: Any = (), **changes: Any) -> dict[str, Any]:
    starts = [each.conditions for each in walkers] or [{"temperature": [kelvin] * 2} for kelvin in LADDER]
    usual = {"seed": 3, "exchange": 10, "block": 100, "steps": 1000, "ramp_steps": None, "ensemble": "nvt"}
    return {**usual, "walkers": starts, **changes}


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
        replica_exchange.exchange(job(walkers), 10 * trial, walkers)
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
            replica_exchange.exchange(job(walkers), 10 * (index + 1), walkers)
            assert {each.number for each in walkers if each.factors} == moved


def test_temperatures_are_swapped_and_momenta_scaled_to_them() -> None:
    cold, hot = walkers = ladder(300.0, 480.0)
    cold.energy = 1.0
    replica_exchange.exchange(job(walkers), 10, walkers)
    assert (cold.temperatures, hot.temperatures) == ([480.0, 480.0], [300.0, 300.0])
    assert cold.factors == [pytest.approx(math.sqrt(1.6))]
    assert hot.factors == [pytest.approx(math.sqrt(1 / 1.6))]


def test_an_exchange_far_uphill_does_not_take_place() -> None:
    cold, hot = walkers = ladder(300.0, 480.0)
    hot.energy = 50.0
    replica_exchange.exchange(job(walkers), 10, walkers)
    assert not cold.factors
    assert not hot.factors


def test_who_is_stopped_or_elsewhere_has_no_part() -> None:
    walkers = ladder(300.0, 400.0, 500.0)
    walkers[0].energy, walkers[1].energy, walkers[2].energy = 2.0, math.nan, 1.0
    walkers[1].stopped = {"kind": "nan"}
    replica_exchange.exchange(job(walkers), 10, walkers)
    assert [each.temperatures[0] for each in walkers] == [500.0, 400.0, 300.0]
    walkers[0].step = 9
    replica_exchange.exchange(job(walkers), 10, walkers)
    assert [each.temperatures[0] for each in walkers] == [500.0, 400.0, 300.0]


@pytest.mark.parametrize(("changes", "step"), [({"exchange": None}, 10), ({}, 9), ({"exchange": 3}, 10)])
def test_between_two_trials_nothing_happens(changes: dict[str, Any], step: int) -> None:
    walkers = ladder(300.0, 400.0)
    walkers[0].energy = 5.0
    for each in walkers:
        each.step = step
    replica_exchange.exchange(job(walkers, **changes), step, walkers)
    assert not walkers[0].factors


def test_what_is_drawn_follows_from_seed_step_and_pair() -> None:
    def drawn(seed: int, step: int) -> list[bool]:
        found = []
        for number in range(40):
            walkers = [Replica(number, [300.0] * 2, 0.0, step), Replica(number + 100, [400.0] * 2, 0.06, step)]
            replica_exchange.exchange(job(walkers, seed=seed), step, walkers)
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


def test_pressures_keep_the_distribution_of_the_volume_at_each() -> None:
    """Of an ideal gas, whose volumes are gamma-distributed; as many are accepted as theory says."""
    special, stats = pytest.importorskip("scipy.special"), pytest.importorskip("scipy.stats")
    rng, atoms, kelvin, pressures = np.random.default_rng(1), 4, 300.0, (1000.0, 2000.0)
    walkers = [
        Replica(n, [kelvin] * 2, conditions={"walker": n, "temperature": [kelvin] * 2, "pressure": bar})
        for n, bar in enumerate(pressures)
    ]
    taken: dict[float, list[float]] = {bar: [] for bar in pressures}
    for trial in range(1, 4001):
        for each in walkers:
            each.step = 10 * trial
            each.volume = float(rng.gamma(atoms + 1, velocities.KB * kelvin / (each.pressure * BAR)))
        replica_exchange.exchange(job(walkers, ensemble="npt"), 10 * trial, walkers)
        for each in walkers:
            taken[each.pressure].append(each.volume)
    for bar, volumes in taken.items():
        cdf = stats.gamma(atoms + 1, scale=velocities.KB * kelvin / (bar * BAR)).cdf
        assert stats.kstest(volumes, cdf).pvalue > 1e-3
    tried, accepted = np.sum([next(iter(each.trials.values())) for each in walkers if each.trials], axis=0)
    wanted = 2.0 * special.betainc(atoms + 1, atoms + 1, 1.0 / 3.0)
    assert tried == 4000
    assert abs(accepted / tried - wanted) < 4 * math.sqrt(wanted * (1 - wanted) / tried)
    assert not any(each.factors for each in walkers)  # the temperature is the same


@dataclass
class Harmonic:
    """A bias on one coordinate, in place of PLUMED."""

    at: float
    energy: float = 0.0

    def energy_at(self, x: float, cell: None) -> float:
        return 0.5 * KAPPA * (x - self.at) ** 2


KAPPA, SPRING = 5.0, 2.0


@dataclass
class Biased(Replica):
    """A harmonic coordinate in a window."""

    x: float = 0.0

    def place(self) -> tuple[float, None]:
        return self.x, None


def test_windows_keep_their_distributions_and_are_accepted_as_theory_says() -> None:
    """Gaussians: w is normal with mean -m and variance 2 m, where m = kappa² d² / ((k + kappa) kT)."""
    stats = pytest.importorskip("scipy.stats")
    rng, kT, centres = np.random.default_rng(2), velocities.KB * 300.0, (0.0, 0.12)
    width = math.sqrt(kT / (KAPPA + SPRING))
    walkers = [
        Biased(n, [300.0] * 2, conditions={"walker": n, "temperature": [300.0] * 2, "window": {"AT": at}})
        for n, at in enumerate(centres)
    ]
    for each in walkers:
        each.bias = Harmonic(each.conditions["window"]["AT"])
    taken: dict[float, list[float]] = {at: [] for at in centres}
    for trial in range(1, 4001):
        for each in walkers:
            each.step, mean = 10 * trial, each.bias.at * KAPPA / (KAPPA + SPRING)
            each.x = float(rng.normal(mean, width))
            each.energy, each.bias.energy = 0.5 * SPRING * each.x**2, each.bias.energy_at(each.x, None)
        replica_exchange.exchange(job(walkers), 10 * trial, walkers)
        for each in walkers:
            assert each.bias.at == each.conditions["window"]["AT"]
            taken[each.bias.at].append(each.x)
    for at, places in taken.items():
        assert stats.kstest(places, stats.norm(at * KAPPA / (KAPPA + SPRING), width).cdf).pvalue > 1e-3
    tried, accepted = np.sum([next(iter(each.trials.values())) for each in walkers if each.trials], axis=0)
    wanted = math.erfc(math.sqrt((KAPPA * centres[1]) ** 2 / (KAPPA + SPRING) / kT) / 2)
    assert abs(accepted / tried - wanted) < 4 * math.sqrt(wanted * (1 - wanted) / tried)


def test_axes_take_turns_and_neighbours_differ_along_one_alone() -> None:
    """Nothing has energy or volume, so each exchange of pressures is certain; pairs of both axes are tried."""
    conditions = [
        {"walker": 0, "temperature": [kelvin] * 2, "pressure": bar}
        for bar in (1.0, 2.0, 3.0)
        for kelvin in (300.0, 400.0)
    ]
    turns: list[set[str]] = []
    for step in (10, 20, 30, 40):
        walkers = [Replica(n, [300.0] * 2, step=step, volume=0.0) for n in range(6)]
        for each, own in zip(walkers, conditions, strict=True):
            each.conditions, each.temperatures = {**own, "walker": each.number}, own["temperature"]
        replica_exchange.exchange(job(walkers, ensemble="npt"), step, walkers)
        turns.append({pair for each in walkers for pair in each.trials})
    temperatures = {"temperature 300.0 400.0"}
    assert turns == [{"pressure 1.0 2.0"}, temperatures, {"pressure 2.0 3.0"}, temperatures]
