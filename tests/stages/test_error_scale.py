"""The scale from spread to error: of the largest likelihood, in any unit, and not decided by a wrong label."""

from __future__ import annotations

import math
from typing import Any

import pytest

from psiflow_cli.stages.evaluate import error_scale
from psiflow_cli.worker.models.expected_error import expected

np = pytest.importorskip("numpy")


def pairs(scale: float, floor: float, number: int = 4000, seed: int = 0) -> tuple[Any, Any]:
    """Spreads, and errors of three components whose variance is (scale s)² + floor², together."""
    rng = np.random.default_rng(seed)
    spreads = np.exp(rng.normal(-3, 1, number))
    widths = np.hypot(scale * spreads, floor)
    return spreads, np.linalg.norm(rng.normal(size=(number, 3)), axis=1) * widths / math.sqrt(3)


@pytest.mark.parametrize(("scale", "floor"), [(2.0, 0.05), (0.6, 0.3), (1.5, 0.0)])
@pytest.mark.parametrize("unit", [1.0, 1e-4])
def test_scale_and_floor_are_found_in_any_unit(scale: float, floor: float, unit: float) -> None:
    spreads, errors = pairs(scale, floor)
    found = error_scale.fit(spreads * unit, errors * unit)
    assert found["scale"] == pytest.approx(scale, rel=0.1)
    assert found["floor"] == pytest.approx(floor * unit, rel=0.05, abs=0.002 * unit)


def test_it_is_the_largest_likelihood() -> None:
    optimize = pytest.importorskip("scipy.optimize")
    spreads, errors = pairs(1.2, 0.1, 300, 5)

    def cost(logarithms: Any) -> float:
        variances = (np.exp(logarithms[0]) * spreads) ** 2 + np.exp(2 * logarithms[1])
        return float((errors**2 / variances + np.log(variances)).sum())

    best = np.exp(optimize.minimize(cost, [0.0, -2.0], method="Nelder-Mead", options={"xatol": 1e-8}).x)
    found = error_scale.fit(spreads, errors)
    assert (found["scale"], found["floor"]) == pytest.approx(tuple(best), rel=1e-4)


def test_a_wrong_label_does_not_decide() -> None:
    spreads, errors = pairs(2.0, 0.05, 1000)
    wrong = errors.copy()
    wrong[[3, 500]] = 300.0
    clean, found = error_scale.fit(spreads, errors), error_scale.fit(spreads, wrong)
    assert found["scale"] == pytest.approx(clean["scale"], rel=0.1)
    assert found["floor"] == pytest.approx(clean["floor"], rel=0.25)
    described = error_scale.described(spreads, wrong, found)
    assert described["outliers"] == 2
    assert error_scale.described(spreads, errors, clean)["outliers"] == 0


def test_a_spread_that_says_nothing_has_no_scale() -> None:
    spreads, errors = pairs(0.0, 0.1)
    found = error_scale.fit(spreads, errors)
    assert found["scale"] * np.mean(spreads) < 0.2 * found["floor"]
    assert found["floor"] == pytest.approx(0.1, rel=0.05)
    falling = error_scale.fit(spreads, np.sort(errors)[np.argsort(np.argsort(-spreads))])
    assert falling["scale"] == 0.0
    assert error_scale.fit([0.0, 0.0, 0.1], [1.0, 2.0, 0.5])["floor"] > 0


def test_what_is_said_of_it_equals_numpy_and_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    spreads, errors = pairs(2.0, 0.05, 210)
    spreads[:40] = spreads[0]  # ties share a rank
    scale = error_scale.fit(spreads, errors)
    found = error_scale.described(spreads, errors, scale)
    wanted = np.array([expected(spread, scale) for spread in spreads])
    assert wanted == pytest.approx(np.hypot(scale["scale"] * spreads, scale["floor"]))
    assert found["rank_correlation"] == pytest.approx(stats.spearmanr(spreads, errors).statistic)
    rms = [float(np.sqrt(np.mean(values**2))) for values in (spreads, wanted, errors)]
    assert (found["ratio_before"], found["ratio_after"]) == pytest.approx((rms[2] / rms[0], rms[2] / rms[1]))
    assert [each["count"] for each in found["bins"]] == [21] * 10
    for key, values in (("spread", spreads), ("expected", wanted), ("error", errors)):
        own = [np.sqrt(np.mean(values[part] ** 2)) for part in np.array_split(np.argsort(spreads, kind="stable"), 10)]
        assert [each[key] for each in found["bins"]] == pytest.approx(own)  # type: ignore[literal-required]
    assert found["calibration_error_after"] < 0.15 < found["calibration_error_before"]
