"""Whether a committee knows where it is wrong: the spread of its members against the error of their mean."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypedDict

from psiflow_cli.stages.evaluate.error_table import (
    UNITS,
    Group,
    Key,
    group_of,
    keys,
    name_width,
    order,
    row_name,
)  # fmt: skip

if TYPE_CHECKING:
    from typing_extensions import NotRequired

    from psiflow_cli.messages import CalibratedQuantity, Labels, Prediction

_MEV = 1e3


class Spread(TypedDict):
    """Of so many pairs of spread and error."""

    spread: float  # root mean square
    error: float  # root mean square
    ratio: float | None  # error over spread; None where there is no spread
    correlation: float | None  # Pearson's; None where one of the two never varies
    count: int
    expected: NotRequired[float]  # of a calibrated committee, the root mean square of the expected errors


class SpreadRow(Group, Spread):
    """The spread of a group, beside its error."""


class _Pairs:
    """Running sums over pairs of spread and error."""

    def __init__(self) -> None:
        self._sums = [0.0] * 5
        self._count = 0
        self._expected: float | None = 0.0  # sum of squares

    def add(self, spread: float, error: float, expected: float | None) -> None:
        """Count one pair of numbers that are not negative, in one unit, and the expected error if there is one."""
        self._count += 1
        self._expected = None if expected is None or self._expected is None else self._expected + expected * expected
        for index, value in enumerate((spread, error, spread * spread, error * error, spread * error)):
            self._sums[index] += value

    def result(self) -> Spread:
        """What the pairs amount to."""
        n = self._count
        spread, error, spread2, error2, product = (value / n for value in self._sums)
        variances = (spread2 - spread * spread, error2 - error * error)
        vary = all(v > 1e-12 * s for v, s in zip(variances, (spread2, error2), strict=True))
        row: Spread = {
            "spread": math.sqrt(spread2),
            "error": math.sqrt(error2),
            "ratio": math.sqrt(error2 / spread2) if spread2 else None,
            "correlation": (product - spread * error) / math.sqrt(variances[0] * variances[1]) if vary else None,
            "count": n,
        }
        if self._expected is not None:
            row["expected"] = math.sqrt(self._expected / n)
        return row


class SpreadTable:
    """Spread and error of the energy per atom (frame by frame) and of the force (atom by atom)."""

    def __init__(self) -> None:
        self._pairs: dict[Key, _Pairs] = {}

    def add(self, label: Labels, prediction: Prediction, symbols: list[str], config_type: str, file: str = "") -> None:
        """Compare one frame; nothing where it has no label, or the model no committee."""
        group = (config_type, file)
        if "energy_std" not in prediction:
            return
        if label["energy"] is not None:
            values = prediction["energy_std"], abs(prediction["energy"] - label["energy"])
            spread, error = (value / len(symbols) for value in values)
            total = prediction.get("energy_expected_error")
            self._add("energy", "", group, spread, error, None if total is None else total / len(symbols))
        if label["forces"] is not None:
            errors = map(math.dist, label["forces"], prediction["forces"])
            wanted: Sequence[float | None] = prediction.get("forces_expected_error") or [None] * len(symbols)
            for symbol, spread, error, expected in zip(symbols, prediction["forces_std"], errors, wanted, strict=True):
                self._add("forces", symbol, group, spread, error, expected)

    def _add(
        self, quantity: str, element: str, group: tuple[str, str], spread: float, error: float, expected: float | None
    ) -> None:
        scaled = None if expected is None else _MEV * expected
        for key in keys(quantity, element, *group):
            self._pairs.setdefault(key, _Pairs()).add(_MEV * spread, _MEV * error, scaled)

    def rows(self) -> list[SpreadRow]:
        """A row per quantity and group, ordered as the table of errors is."""
        return [{**group_of(key), **self._pairs[key].result()} for key in sorted(self._pairs, key=order)]


def as_text(rows: list[SpreadRow], curves: Mapping[str, CalibratedQuantity]) -> str:
    """The table as a person reads it; at most 80 columns wide, but for long names. Of a calibrated committee, with its
    expected errors.
    """
    if curves:
        return "\n".join([*_calibrated(rows), *_curve(curves)])
    width = name_width(rows, 20)
    lines = [f"{'':{width}}{'spread':>10}{'error':>10}{'ratio':>8}{'corr.':>8}{'number':>10}  unit"]
    for row in rows:
        ratios = (f"{'-':>8}" if each is None else f"{each:8.2f}" for each in (row["ratio"], row["correlation"]))
        numbers = f"{row['spread']:10.3f} {row['error']:9.3f}{''.join(ratios)}{row['count']:10d}"
        lines.append(f"{row_name(row):{width}}{numbers}  {row['unit']}")
    return "\n".join(lines)


def _calibrated(rows: list[SpreadRow]) -> Iterator[str]:
    width = name_width(rows, 17)
    yield f"{'':{width}}{'spread':>10}{'expected':>10}{'error':>10}{'error/exp.':>11}{'number':>10}  unit"
    for row in rows:
        expected = row.get("expected")
        cells = f"{'-':>10}" if expected is None else f" {expected:9.3f}"
        ratio = f"{row['error'] / expected:11.2f}" if expected else f"{'-':>11}"
        numbers = f"{row['spread']:10.3f}{cells} {row['error']:9.3f}{ratio}{row['count']:10d}"
        yield f"{row_name(row):{width}}{numbers}  {row['unit']}"


def _curve(curves: Mapping[str, CalibratedQuantity]) -> Iterator[str]:
    """Spread, expected and true error of groups of equal size, by the spread, and how far they are from each other."""
    for quantity, curve in curves.items():
        yield f"{quantity} in {len(curve['bins'])} groups by spread (rank correlation {curve['rank_correlation']:.2f})"
        for each in curve["bins"]:
            numbers = (_MEV * value for value in (each["spread"], each["expected"], each["error"]))
            ratio = f"{each['error'] / each['expected']:11.2f}" if each["expected"] else f"{'-':>11}"
            yield f"{'':17}{''.join(f' {n:9.3f}' for n in numbers)}{ratio}{each['count']:10d}  {UNITS[quantity]}"
        off = f"{100 * curve['calibration_error_before']:.0f} % before, {100 * curve['calibration_error_after']:.0f} %"
        yield f"  mean difference from the error: {off} after calibration"
