"""A free energy as a person reads it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from psiflow_cli.stages.free_energy.request import KB
from psiflow_cli.stages.free_energy.stage import points

if TYPE_CHECKING:
    from psiflow_cli.messages import FreeEnergy

_MOST = 60  # rows of a profile


def as_text(result: FreeEnergy) -> str:
    """Windows with their overlap, the profile of one CV or the minimum of a surface, basins and convergence."""
    return "\n".join([*_windows(result), *_profile(result), *_basins(result), *_convergence(result)])


def _windows(result: FreeEnergy) -> Iterator[str]:
    if not result["windows"]:
        return
    names = [row["name"] for row in result["windows"]]
    width = max(6, *map(len, names))
    heads = f"{'T (K)':>7} {'at':>14} {'kappa (eV)':>14} {'mean':>14} {'samples':>8} {'used':>7} overlap"
    yield f"{'window':<{width}} {heads}"
    rows = result["windows"]
    order = sorted(range(len(rows)), key=lambda n: (rows[n]["temperature_kT"], rows[n]["at"] or rows[n]["mean"]))
    for number, following in zip(order, [*order[1:], None], strict=True):
        row = rows[number]
        cells = [",".join(f"{round(value, 6):.5g}" for value in row[key]) or "-" for key in ("at", "kappa", "mean")]
        kelvin = row["temperature_kT"] / KB
        overlap = "" if following is None else f"{result['overlap'][number][following]:.3f}"
        line = f"{row['name']:<{width}} {kelvin:7.5g} " + " ".join(f"{cell:>14}" for cell in cells)
        yield f"{line} {row['samples']:8d} {row['used']:7d} {overlap}".rstrip()
    yield ""


def _profile(result: FreeEnergy) -> Iterator[str]:
    names, values, errors = result["cvs"], result["free_energies"], result["errors"]
    rows = list(zip(points(result), values, errors, strict=True))
    if len(names) == 2:
        rows = [row for row in rows if row[1] == 0][:1]
    yield " ".join(f"{name:>12}" for name in names) + f" {'F (eV)':>10} {'error (eV)':>10}"
    places = [_places(axis) for axis in result["points"]]
    step = max(1, -(-len(rows) // _MOST))
    shown = rows[::step]
    for point, value, error in shown:
        cells = "".join(f" {'-' if each is None else format(each, '.5f'):>10}" for each in (value, error))
        yield " ".join(f"{x:12.{n}f}" for x, n in zip(point, places, strict=True)) + cells
    if len(shown) < len(values):
        which = f"one in {step} of {len(values)}" if step > 1 else f"{len(shown)} of {len(values)}"
        yield f"{which} points is shown; the output and --json have all"


def _places(values: Sequence[float]) -> int:
    """The decimals by which the largest value has six digits, and at most nine."""
    largest = max(map(abs, values), default=0.0)
    return min(max(0, 5 - math.floor(math.log10(largest))), 9) if largest else 0


def _basins(result: FreeEnergy) -> Iterator[str]:
    if result["basins"]:
        yield ""
        yield f"{'basin':<12} {'F (eV)':>10} {'error (eV)':>10}"
    for row in result["basins"]:
        cells = "".join(
            f" {'-' if each is None else format(each, '.5f'):>10}" for each in (row["free_energy"], row["error"])
        )
        yield f"{row['name']:<12}{cells}"


def _convergence(result: FreeEnergy) -> Iterator[str]:
    if not result["convergence"]:
        return
    names = [row["name"] for row in result["basins"]]
    yield ""
    yield f"{'of the data':<12} {'rms (eV)':>10}" + "".join(f" {name[:10]:>10}" for name in names)
    for row in result["convergence"]:
        cells = [row["deviation"], *row["basins"]]
        yield f"{row['fraction']:<12.0%}" + "".join(
            f" {'-' if each is None else format(each, '.5f'):>10}" for each in cells
        )
