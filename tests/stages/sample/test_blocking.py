"""Errors of means against series whose error is known."""

from __future__ import annotations

import math
import random
from statistics import fmean

import pytest

from psiflow_cli.stages.sample.blocking import Discard, Means, Series, estimate, merged


def autoregressive(phi: float, count: int, seed: int) -> list[float]:
    """x' = phi x + noise of variance 1, from its stationary distribution."""
    draw = random.Random(seed)
    x = draw.gauss(0, 1 / math.sqrt(1 - phi * phi))
    found = []
    for _ in range(count):
        found.append(x)
        x = phi * x + draw.gauss(0, 1)
    return found


def exact(phi: float, count: int) -> float:
    """The standard deviation of the mean of `autoregressive`, summed over its autocorrelation phi^t."""
    variance = 1 / (1 - phi * phi)
    factor = (1 + phi) / (1 - phi) - 2 * phi * (1 - phi**count) / (count * (1 - phi) ** 2)
    return math.sqrt(variance / count * factor)


@pytest.mark.parametrize(("phi", "count"), [(0.0, 1000), (0.5, 2000), (0.9, 4000)])
def test_the_error_of_a_correlated_series(phi: float, count: int) -> None:
    found = [estimate(autoregressive(phi, count, seed)) for seed in range(100)]
    errors = [e.error for e in found if e.error is not None]
    assert len(errors) == 100
    assert fmean(errors) == pytest.approx(exact(phi, count), rel=0.06)
    within = sum(abs(e.mean) < (e.error or 0) for e in found)
    assert 55 <= within <= 82, "68 % of the means should lie within their error"
    assert math.sqrt(fmean(e.mean**2 for e in found)) == pytest.approx(exact(phi, count), rel=0.25)


def test_a_series_too_short_to_tell_has_a_lower_bound() -> None:
    """200 values hold ten independent ones: blocks long enough would be too few."""
    for seed in range(20):
        found = estimate(autoregressive(0.9, 200, seed))
        assert found.error is None
        assert found.at_least is not None
        assert 0 < found.at_least < 2 * exact(0.9, 200)
    assert estimate([1.0]) == (1.0, None, None)
    assert estimate([1.0, 2.0]) == (1.5, None, None)
    assert estimate([3.0] * 5) == (3.0, 0.0, 0.0)


def test_the_beginning_is_discarded() -> None:
    series = Series()
    for step in range(1, 11):
        series.add(100.0 * step, {"volume": float(step)})
    assert series.means(Discard(0.2)).discarded == 2
    assert series.means(Discard(0.2)).estimates["volume"].mean == pytest.approx(6.5)
    assert series.means(Discard(0.35, is_share=False)).discarded == 3
    assert series.means(Discard(0.0)).estimates["volume"].mean == pytest.approx(5.5)
    assert series.means(Discard(5.0, is_share=False)) == Means(0, 10, {})
    assert Series().means(Discard()) == Means(0, 0, {})


def test_beads_count_as_their_mean() -> None:
    series = Series()
    for time, value in ((1.0, 1.0), (1.0, 2.0), (1.0, 6.0), (2.0, 5.0), (2.0, 6.0), (2.0, 7.0)):
        series.add(time, {"model_energy": value})
    found = series.means(Discard(0.0))
    assert (found.frames, found.estimates["model_energy"].mean) == (2, 4.5)


def test_paths_are_merged_in_the_order_of_time() -> None:
    first, second = Series(), Series()
    for time in (1.0, 4.0):
        first.add(time, {"volume": time})
    for time in (2.0, 3.0, 4.0):
        second.add(time, {"volume": 2 * time})
    both = merged([first, second]).means(Discard(0.0025, is_share=False))
    assert both.discarded == 2
    assert both.estimates["volume"].mean == pytest.approx((6.0 + (4.0 + 8.0) / 2) / 2)
