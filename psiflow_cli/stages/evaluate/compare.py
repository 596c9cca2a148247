"""The errors of several evaluations beside each other, and which of them is good enough, or better than the others."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass

from psiflow_cli.errors import BadData, NoInput
from psiflow_cli.stages.evaluate import error_table
from psiflow_cli.stages.evaluate.error_table import UNITS, ErrorRow

RowOf = dict[str, ErrorRow]  # the row over all frames of each quantity


@dataclass(frozen=True)
class Evaluated:
    """What `psiflow evaluate --json` said of one model."""

    name: str
    file: str
    frames: int
    errors: RowOf

    def rmse(self, quantity: str) -> float:
        """In the unit of the quantity (`UNITS`). Raises BadData where it was not compared."""
        if quantity not in self.errors:
            compared = ", ".join(self.errors) or "no errors, because the frames had no labels"
            raise BadData(f"{self.file}: no error of the {quantity}", f"it has {compared}")
        return self.errors[quantity]["rmse"]


def read(files: tuple[str, ...]) -> list[Evaluated]:
    """The evaluations, in the order given; each is named by what distinguishes its file from the others."""
    return [_read(file, name) for file, name in zip(files, names(files), strict=True)]


def _read(file: str, name: str) -> Evaluated:
    try:
        with open(file, encoding="utf-8") as stream:
            summary = json.load(stream)
        rows: list[ErrorRow] = [row for row in summary["errors"] if row["by"] == "all"]
        errors: RowOf = {row["quantity"]: {**row, "rmse": float(row["rmse"]), "mae": float(row["mae"])} for row in rows}
        return Evaluated(name, file, int(summary["total"]) - int(summary["failed"]), errors)
    except OSError as error:
        raise NoInput(f"{file}: {error.strerror}", "check its name and the working directory") from None
    except (ValueError, KeyError, TypeError):
        hint = "make one with psiflow evaluate test.xyz --model water.model --json > errors.json"
        raise BadData(f"{file}: not what psiflow evaluate --json writes", hint) from None


def names(files: tuple[str, ...]) -> list[str]:
    """The paths without the folders and the file name that all have in common."""
    parts = [os.path.normpath(file).split(os.sep) for file in files]
    while len(parts) > 1 and all(len(p) > 1 for p in parts) and len({p[0] for p in parts}) == 1:
        parts = [p[1:] for p in parts]
    while len(parts) > 1 and all(len(p) > 1 for p in parts) and len({p[-1] for p in parts}) == 1:
        parts = [p[:-1] for p in parts]
    return ["/".join(p) for p in parts]


def check_comparable(evaluated: list[Evaluated], quantity: str) -> None:
    """Raise BadData where the errors of a quantity are of different numbers of values: of different test sets."""
    counts = {each.file: each.errors[quantity]["count"] for each in evaluated if each.rmse(quantity) >= 0}
    first, *others = counts
    for other in others:
        if counts[other] != counts[first]:
            problem = f"{other}: errors of {counts[other]} values of {quantity}, but {first} has {counts[first]}"
            raise BadData(problem, "evaluate the models on the same frames")


def reached(evaluated: list[Evaluated], quantity: str, target: float) -> bool:
    """Whether the last model's RMSE is at most the target."""
    return evaluated[-1].rmse(quantity) <= target


def improved(evaluated: list[Evaluated], quantity: str, gain: float, last: int) -> bool:
    """Whether the best of the `last` models is better by this share than all before; True where there is none."""
    before, recent = evaluated[:-last], evaluated[-last:]
    if not before:
        return True
    check_comparable(evaluated, quantity)
    best = min(each.rmse(quantity) for each in before)
    return min(each.rmse(quantity) for each in recent) < best * (1 - gain)


def verdict(evaluated: list[Evaluated], quantity: str, last: int) -> str:
    """What `improved` looked at, in words: `forces RMSE 31.20 meV/Å (new), 35.01 before (old)`."""
    before, recent = evaluated[:-last], evaluated[-last:]

    def least(models: list[Evaluated]) -> tuple[str, str]:
        best = min(models, key=lambda each: each.rmse(quantity))
        return f"{best.rmse(quantity):.2f}", best.name

    now, name = least(recent)
    words = f"{quantity} RMSE {now} {UNITS[quantity]} ({name})"
    return f"{words}, {{}} before ({{}})".format(*least(before)) if before else f"{words}, with nothing to compare to"


def as_csv(evaluated: list[Evaluated]) -> str:
    """A row for each model and quantity."""
    columns = ["model", "frames", *(column for column in error_table.COLUMNS if column not in ("by", "group"))]
    rows = [{"model": e.name, "frames": e.frames, **row} for e in evaluated for row in e.errors.values()]
    return error_table.as_csv([{column: row.get(column) for column in columns} for row in rows], columns)


def as_text(evaluated: list[Evaluated]) -> str:
    """A row for each model; of several, the smallest RMSE has a star. At most 80 columns, but for long names."""
    quantities = [q for q in UNITS if any(q in each.errors for each in evaluated)]
    width = max(len(each.name) for each in evaluated)
    least = {q: min(each.rmse(q) for each in evaluated if q in each.errors) for q in quantities}
    above = " " * (width + 8) + "".join(f"  {f'{q} ({UNITS[q]})':>20}" for q in quantities)
    lines = [above, f"{'':{width}}{'frames':>8}" + f"  {'RMSE':>9} {'MAE':>9} " * len(quantities)]
    for each in evaluated:
        cells = "".join(_cell(each.errors.get(q), least[q] if len(evaluated) > 1 else math.nan) for q in quantities)
        lines.append(f"{each.name:{width}}{each.frames:8d}{cells}")
    return "\n".join(line.rstrip() for line in lines)


def _cell(row: ErrorRow | None, least: float) -> str:
    if row is None:
        return f"  {'-':>9} {'-':>9} "
    star = "*" if row["rmse"] == least else " "
    return f"  {row['rmse']:9.2f}{star}{row['mae']:9.2f} "
