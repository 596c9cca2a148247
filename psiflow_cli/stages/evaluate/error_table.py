"""How far predictions are from labels: RMSE, MAE and maximum, over all, by element, `config_type` and file."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from psiflow_cli.messages import Labels, Prediction


class Errors(TypedDict):
    """Of so many differences."""

    rmse: float
    mae: float
    max: float
    count: int


class Group(TypedDict):
    """What a row of a table is of."""

    quantity: str  # one of `UNITS`
    unit: str
    by: str  # one of `GROUPS`
    group: str  # the element, `config_type` or file, or ""


class ErrorRow(Group, Errors):
    """The errors of a group."""


class Tally:
    """Running sums over differences."""

    def __init__(self) -> None:
        self.count = 0
        self._squares = self._absolutes = self._largest = 0.0

    def add(self, differences: Iterable[float]) -> None:
        """Count differences, in one unit."""
        for d in differences:
            self.count += 1
            self._squares += d * d
            self._absolutes += abs(d)
            self._largest = max(self._largest, abs(d))

    def result(self) -> Errors:
        """RMSE, MAE and maximum in the unit of what was added."""
        return {
            "rmse": math.sqrt(self._squares / self.count),
            "mae": self._absolutes / self.count,
            "max": self._largest,
            "count": self.count,
        }


Key = tuple[str, str, str]  # quantity, by what, and group
GROUPS = ("all", "element", "config_type", "file")
UNITS = {"energy": "meV/atom", "forces": "meV/Å", "stress": "MPa"}
_SCALE = {"energy": 1e3, "forces": 1e3, "stress": 160217.6634}
"""From eV, eV/Å and eV/Å³; 1 eV/Å³ is 160.2176634 GPa (CODATA 2018)."""


class ErrorTable:
    """Errors of energy per atom, force components and stress components."""

    def __init__(self) -> None:
        self._tallies: dict[Key, Tally] = {}

    def add(self, label: Labels, prediction: Prediction, symbols: list[str], config_type: str, file: str = "") -> None:
        """Compare one frame; what its label lacks is not compared. `file` is "" where there is one only."""
        group = (config_type, file)
        if label["energy"] is not None:
            difference = (prediction["energy"] - label["energy"]) / len(symbols) * _SCALE["energy"]
            self._add("energy", "", group, [difference])
        if label["forces"] is not None:
            for symbol, a, b in zip(symbols, label["forces"], prediction["forces"], strict=True):
                differences = [(y - x) * _SCALE["forces"] for x, y in zip(a, b, strict=True)]
                self._add("forces", symbol, group, differences)
        if label["stress"] is not None and prediction["stress"] is not None:
            pairs = zip(label["stress"], prediction["stress"], strict=True)
            self._add("stress", "", group, [(y - x) * _SCALE["stress"] for x, y in pairs])

    def _add(self, quantity: str, element: str, group: tuple[str, str], differences: list[float]) -> None:
        for key in keys(quantity, element, *group):
            self._tallies.setdefault(key, Tally()).add(differences)

    def rows(self) -> list[ErrorRow]:
        """A row per quantity and group, in `order`."""
        return [{**group_of(key), **self._tallies[key].result()} for key in sorted(self._tallies, key=order)]


def keys(quantity: str, element: str, config_type: str, file: str = "") -> list[Key]:
    """The groups that a number belongs to: all, and those that are named."""
    named = zip(GROUPS[1:], (element, config_type, file), strict=True)
    return [(quantity, "all", ""), *((quantity, by, group) for by, group in named if group)]


def order(key: Key) -> tuple[int, int, str]:
    """Where a row stands: overall first, then by element, by `config_type` and by file."""
    return list(UNITS).index(key[0]), GROUPS.index(key[1]), key[2]


def group_of(key: Key) -> Group:
    """What a row says that it is of."""
    quantity, by, group = key
    return {"quantity": quantity, "unit": UNITS[quantity], "by": by, "group": group}


def as_text(rows: list[ErrorRow]) -> str:
    """The table as a person reads it: at most 80 columns wide, but for long names."""
    width = name_width(rows, 24)
    lines = [f"{'':{width}}{'RMSE':>10}{'MAE':>10}{'max':>11}{'number':>9}  unit"]
    for row in rows:
        errors = f"{row['rmse']:10.3f} {row['mae']:9.3f} {row['max']:10.3f}"
        lines.append(f"{row_name(row):{width}}{errors}{row['count']:9d}  {row['unit']}")
    return "\n".join(lines)


def row_name(row: Group) -> str:
    """What a row of a text is called: the quantity, or below it the group."""
    return row["quantity"] if row["by"] == "all" else f"  {row['group']}"


def name_width(rows: Sequence[Group], least: int) -> int:
    """Columns for the names of the rows; none is shortened, or two could not be told from each other."""
    return max(least, *(len(row_name(row)) + 1 for row in rows))


COLUMNS = (*Group.__annotations__, *Errors.__annotations__)


def as_csv(rows: Iterable[Mapping[str, object]], columns: Sequence[str] = COLUMNS) -> str:
    """A table for other programs, numbers as they are."""
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()
