"""The hills of metadynamics in files of PLUMED, checked, in one table for a worker."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli.errors import BadData, UsageError, counted
from psiflow_cli.stages.free_energy import reading, source
from psiflow_cli.stages.free_energy.request import Request
from psiflow_cli.stages.sample.plumed.outputs import ENERGY_UNIT, TIME_UNIT

if TYPE_CHECKING:
    from psiflow_cli.messages import HillsFile
    from psiflow_cli.stages.free_energy.source import Header


def table(request: Request, headers: Sequence[Header], path: Path, one_bias: bool = True) -> HillsFile:
    """The Gaussians of one or several HILLS in one table, those of each bias in the order of their times.

    Raises BadData, and UsageError for several biases where they have to be one.
    """
    first = headers[0]
    for header in headers:
        if not header.is_hills:
            raise BadData(
                f"{header.file}:1: not a HILLS file of PLUMED", "such a file has fields such as sigma_d1 and height"
            )
        for name in sorted({*first.constants, *header.constants} - {ENERGY_UNIT, TIME_UNIT}):  # units may differ
            if first.constants.get(name) != header.constants.get(name):
                problem = f"{header.file}:1: {name} is {header.constants.get(name)}, but {first.constants.get(name)}"
                raise BadData(f"{problem} in {first.file}", "sum only hills of the same metadynamics run")
        if header.names != first.names:
            raise BadData(
                f"{header.file}:1: its fields differ from those of {first.file}",
                "sum only hills of the same metadynamics run",
            )
    cvs = first.names[1 : next(n for n, name in enumerate(first.names) if name.startswith("sigma_"))]
    multivariate = first.constants.get("multivariate", "false")
    if multivariate not in ("true", "false"):
        raise BadData(f"{first.file}:1: multivariate {multivariate}", "only Gaussians can be summed")
    if multivariate == "true":  # of the lower triangle of a matrix, one diagonal after another
        sigmas = [f"sigma_{cvs[i + j]}_{cvs[j]}" for i in range(len(cvs)) for j in range(len(cvs) - i)]
    else:
        sigmas = [f"sigma_{cv}" for cv in cvs]
    for name in sigmas:
        first.need([name], "HILLS")
    kernel = first.constants.get("kerneltype", "stretched-gaussian")
    if kernel.lower() not in ("stretched-gaussian", "gaussian"):
        raise BadData(f"{first.file}:1: kerneltype {kernel}", "only stretched-gaussian and gaussian can be summed")
    names = ["time", *cvs, *sigmas, "height"]
    rows: list[tuple[float, ...]] = []
    walkers: list[float] = []
    factor = 0.0
    for header in headers:
        columns = _of_walker(request, header, source.read_plumed(header, _hill_columns(header, names), one_path=False),
                             one_bias or len(headers) > 1)  # fmt: skip
        factor = factor or columns["biasf"][0]
        if set(columns["biasf"]) != {factor}:
            raise BadData(
                f"{header.file}: biasf is not {factor:g} everywhere", "sum only hills of the same metadynamics run"
            )
        _positive(header, columns, sigmas if multivariate == "false" else [])
        unit = header.unit(request.energy_unit)
        rows += [(header.time_unit * row[0], *row[1:-1], unit * row[-1])
                 for row in zip(*(columns[name] for name in names), strict=True)]  # fmt: skip
        walkers += columns.get("walker", ())
    counts = [len(rows)]
    if len(headers) > 1 or first.is_shared:
        rows.sort(key=lambda row: row[0])
    elif walkers:
        counts = [len(list(own)) for _, own in groupby(walkers)]
    with path.open("wb") as stream:
        for row in rows:
            array("d", row).tofile(stream)
    periods = [reading.period(request, first, name) for name in cvs]
    return {
        "source": str(path), "counts": counts, "cvs": cvs,
        "periods": [list(each) if each else None for each in periods],
        "multivariate": multivariate == "true", "kernel": kernel,
        "bias_factor": 1.0 if factor <= 1 else factor,
        "names": ", ".join(header.file for header in headers),
        "is_shared": any(header.is_shared for header in headers), "is_recorded": False,
    }  # fmt: skip


def _hill_columns(header: Header, names: Sequence[str]) -> list[str]:
    return [*names, "biasf", *(["walker"] if "walker" in header.names else [])]


def _of_walker(
    request: Request, header: Header, columns: dict[str, array[float]], one_bias: bool
) -> dict[str, array[float]]:
    """The hills of --walker, or of all walkers. Raises UsageError where each has a bias of its own, and may not."""
    walkers = columns.get("walker")
    if walkers is None or (request.walker is None and (not one_bias or header.is_shared or len(set(walkers)) < 2)):
        return columns
    if request.walker is None:
        problem = f"{header.file}: {counted(len(set(walkers)), 'walker')}, each with its own bias"
        raise UsageError(problem, f"choose one with --walker 0 to {max(walkers):g}")
    rows = [row for row, walker in enumerate(walkers) if walker == request.walker]
    if not rows:
        raise UsageError(f"{header.file}: no hills of walker {request.walker}", "walkers are numbered from 0")
    return {name: array("d", (column[row] for row in rows)) for name, column in columns.items()}


def _positive(header: Header, columns: dict[str, array[float]], sigmas: list[str]) -> None:
    for name in sigmas:
        if min(columns[name]) <= 0:
            raise BadData(f"{header.file}: {name} is not above 0 in every row", "correct this file")
