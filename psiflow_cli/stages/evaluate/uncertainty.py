"""Whether a committee knows where it is wrong: the spread of its members against the error of their mean."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypedDict

from psiflow_cli.stages.evaluate.error_table import Group, Key, group_of, keys, name_width, order, row_name

if TYPE_CHECKING:
    from psiflow_cli.messages import Labels, Prediction

_MEV = 1e3


class Spread(TypedDict):
    """Of so many pairs of spread and error."""

    spread: float  # root mean square
    error: float  # root mean square
    ratio: float | None  # error over spread; None where there is no spread
    correlation: float | None  # Pearson's; None where one of the two never varies
    count: int


class SpreadRow(Group, Spread):
    """The spread of a group, beside its error."""


class _Pairs:
    """Running sums over pairs of spread and error."""

    def __init__(self) -> None:
        self._sums = [0.0] * 5
        self._count = 0

    def add(self, spread: float, error: float) -> None:
        """Count one pair of numbers that are not negative, in one unit."""
        self._count += 1
        for index, value in enumerate((spread, error, spread * spread, error * error, spread * error)):
            self._sums[index] += value

    def result(self) -> Spread:
        """What the pairs amount to."""
        n = self._count
        spread, error, spread2, error2, product = (value / n for value in self._sums)
        variances = (spread2 - spread * spread, error2 - error * error)
        vary = all(v > 1e-12 * s for v, s in zip(variances, (spread2, error2), strict=True))
        return {
            "spread": math.sqrt(spread2),
            "error": math.sqrt(error2),
            "ratio": math.sqrt(error2 / spread2) if spread2 else None,
            "correlation": (product - spread * error) / math.sqrt(variances[0] * variances[1]) if vary else None,
            "count": n,
        }


class SpreadTable:
    """Spread and error of the energy per atom (frame by frame) and of the force (atom by atom)."""

    def __init__(self) -> None:
        self._pairs: dict[Key, _Pairs] = {}

    def add(self, label: Labels, prediction: Prediction, symbols: list[str], config_type: str, file: str = "") -> None:
        """Compare one frame; nothing where it has no label, or the model no committee."""
        of = (config_type, file)
        if "energy_std" not in prediction:
            return
        if label["energy"] is not None:
            error = abs(prediction["energy"] - label["energy"])
            self._add("energy", "", of, prediction["energy_std"] / len(symbols), error / len(symbols))
        if label["forces"] is not None:
            rows = zip(symbols, prediction["forces_std"], label["forces"], prediction["forces"], strict=True)
            for symbol, spread, a, b in rows:
                self._add("forces", symbol, of, spread, math.dist(a, b))

    def _add(self, quantity: str, element: str, of: tuple[str, str], spread: float, error: float) -> None:
        for key in keys(quantity, element, *of):
            self._pairs.setdefault(key, _Pairs()).add(_MEV * spread, _MEV * error)

    def rows(self) -> list[SpreadRow]:
        """A row per quantity and group, ordered as the table of errors is."""
        return [{**group_of(key), **self._pairs[key].result()} for key in sorted(self._pairs, key=order)]


def as_text(rows: list[SpreadRow]) -> str:
    """The table as a person reads it: at most 80 columns wide, but for long names."""
    width = name_width(rows, 20)
    lines = [f"{'':{width}}{'spread':>10}{'error':>10}{'ratio':>8}{'corr.':>8}{'number':>10}  unit"]
    for row in rows:
        ratios = (f"{'-':>8}" if each is None else f"{each:8.2f}" for each in (row["ratio"], row["correlation"]))
        numbers = f"{row['spread']:10.3f}{row['error']:10.3f}{''.join(ratios)}{row['count']:10d}"
        lines.append(f"{row_name(row):{width}}{numbers}  {row['unit']}")
    return "\n".join(lines)
