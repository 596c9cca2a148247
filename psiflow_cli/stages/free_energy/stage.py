"""A free energy: read the files, have it computed on a worker, write the profile, the figure and the convergence."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli.console import note
from psiflow_cli.errors import UsageError, counted
from psiflow_cli.stages.core import single
from psiflow_cli.stages.evaluate.error_table import as_csv
from psiflow_cli.stages.free_energy import gaussians, reading
from psiflow_cli.stages.free_energy.request import KB, Request
from psiflow_cli.stages.plot import figures

if TYPE_CHECKING:
    from psiflow_cli.messages import Axis, FreeEnergy, FreeEnergyJob, Method, Summary
    from psiflow_cli.runtime.session import Session
    from psiflow_cli.stages.core.workspace import Workspace
    from psiflow_cli.stages.free_energy.source import Header

_COMPUTE = "psiflow_cli.worker.free_energy.compute:compute"
_DRAW = "psiflow_cli.worker.plots.free_energy:draw"
_METADYNAMICS = re.compile(r"metad.*\.bias$", re.IGNORECASE)
BINS = {1: 50, 2: 40}
_MOST_STATES = 1000
_GRID_POINTS = 100  # of a sum of hills


def look(request: Request, workspace: Workspace) -> tuple[Method, list[Header]]:
    """What is to be computed, and of what. Raises BadData, UsageError."""
    headers = reading.headers(request, workspace)
    return _method(request, headers), headers


def _method(request: Request, headers: Sequence[Header]) -> Method:
    hills = [header.is_hills for header in headers]
    if any(hills) and not all(hills):
        problem = (
            f"{headers[hills.index(True)].file} contains hills, but {headers[hills.index(False)].file} contains samples"
        )
        raise UsageError(problem, "sum the hills alone, or give them as --hills for --by reweight")
    by: Method | None = request.by or ("hills" if all(hills) else None)
    if by is None and (request.kappa or request.window_biases or request.windows):
        by = "mbar"
    if by is None:
        raise UsageError("samples can come from several windows or from one bias", "give --by mbar or --by reweight")
    if (by == "hills") != all(hills):
        what = "hills" if all(hills) else "no hills"
        raise UsageError(f"--by {by}: {headers[0].file} has {what}", "give COLVAR files, tables or frames, or HILLS")
    return by


def run(request: Request, workspace: Workspace) -> Summary:
    """Compute and write everything; returns the summary, whose `free_energy` is the result."""
    by, headers = look(request, workspace)
    folder = workspace.job.folder.absolute()
    samples, hills = folder / "samples", folder / "hills"
    try:
        job = prepared(request, workspace, by, headers, folder)
        workspace.run.begin(1)
        with workspace.run.guard_end(), workspace.session() as session:
            result: FreeEnergy = single.perform(workspace, session, _COMPUTE, {"job": job}, "free energy")
            _publish(request, workspace, session, result)
    finally:
        samples.unlink(missing_ok=True)
        hills.unlink(missing_ok=True)
    _warn(result)
    return {
        "total": 1, "failed": 0, "by": by, "free_energy": result, "output": request.job.output,
        "temperature": job["kT"] and job["kT"] / KB, "plot": request.plot, "convergence": request.convergence,
    }  # fmt: skip


def prepared(
    request: Request, workspace: Workspace, by: Method, headers: Sequence[Header], folder: Path
) -> FreeEnergyJob:
    """What a worker needs, its tables written into a folder. Raises BadData, UsageError."""
    kT = request.temperature and KB * request.temperature
    job: FreeEnergyJob = {
        "by": by, "axes": [], "basins": list(request.basins), "kT": kT, "pressure": 0.0, "blocks": request.blocks,
        "convergence": bool(request.convergence),
        "discard": request.discard or {"kind": "auto" if by == "mbar" else "share", "value": 0.0},
    }  # fmt: skip
    if by == "hills":
        job["hills"] = file = gaussians.table(request, headers, folder / "hills", one_bias=False)
        cvs = list(request.cvs or file["cvs"])
        for name in cvs:
            headers[0].need([name], "--cv") if name not in file["cvs"] else None
        _few(cvs)
        if len(cvs) < len(file["cvs"]) and not kT:
            left = ", ".join(name for name in file["cvs"] if name not in cvs)
            raise UsageError(f"--cv {','.join(cvs)}: integrating out {left} needs a temperature", "give --temperature")
        if request.discard:
            raise UsageError(
                "--discard cannot be used with hills, which are all needed for the sum", "leave out --discard"
            )
        if request.basins and not kT:
            raise UsageError("--basins: the free energy of a region needs a temperature", "give --temperature")
        job["axes"] = _axes(request, cvs, headers[0], dict.fromkeys(cvs, _GRID_POINTS))
    else:
        cvs = list(request.cvs)
        if not cvs:
            raise UsageError("missing option --cv", f"{headers[0].file} has {', '.join(headers[0].names)}")
        _few(cvs)
        _read_samples(request, workspace, job, headers, folder)
    for basin in request.basins:
        if len(basin["ranges"]) != len(cvs):
            problem = f"--basins {basin['name']}: {len(basin['ranges'])} ranges for {counted(len(cvs), 'CV')}"
            raise UsageError(problem, "as in A=-3:-1 for one, A=-3:-1/0:2 for two")
    return job


def _few(cvs: Sequence[str]) -> None:
    if len(cvs) > 2:
        raise UsageError(f"{len(cvs)} CVs: {', '.join(cvs)}", "choose the one or two CVs of the profile with --cv")
    if len(set(cvs)) < len(cvs):
        raise UsageError(f"--cv {','.join(cvs)}: a CV is given twice", "give it once")


def _read_samples(
    request: Request, workspace: Workspace, job: FreeEnergyJob, files: Sequence[Header], folder: Path
) -> None:
    by, cvs = job["by"], list(request.cvs)
    bias = _bias(by, files[0], request)
    restrained = list(request.restrained or cvs)
    if (
        by == "reweight"
        and not request.hills
        and not any(name.endswith("rbias") for name in bias)
        and any(_METADYNAMICS.search(name) for name in files[0].names)
    ):
        note(
            "warning: the bias of metadynamics grows with time; correct for this with --bias metad.rbias or --hills "
            "HILLS"
        )
    every = [*cvs, *(name for name in restrained if name not in cvs)]
    several = by == "mbar" and any(header.find(reading.CONDITIONS) for header in files)
    read = reading.samples(request, workspace, files, reading.Layout(every, bias, several))
    temperatures = {state["kT"] for state in read.states}
    if len(read.states) > _MOST_STATES:
        problem = counted(len(read.states), "window or temperature", "windows or temperatures")
        raise UsageError(problem, "a temperature ramp is not in equilibrium; --windows takes columns with few values")
    if job["kT"] is None:
        job["kT"] = min(temperatures)
        if len(temperatures) > 1:
            note(
                f"the profile is that of {min(temperatures) / KB:g} K, the lowest temperature; choose another with "
                "--temperature"
            )
    pressures = {state["pressure"] for state in read.states}
    job["pressure"] = min(pressures) if request.pressure is None else reading.BAR * request.pressure
    if len(pressures) > 1 and request.pressure is None:
        note("the profile is that of the lowest pressure; choose another with --pressure")
    if by == "reweight" and len(temperatures) > 1:
        raise UsageError("--by reweight: samples at several temperatures", "combine them with --by mbar")
    restraints = by == "mbar" and not request.window_biases and bool(bias or request.kappa)
    if restraints and bool(request.at) != bool(request.kappa):
        raise UsageError("--at and --kappa must be given together", "give both, or neither where the bias was recorded")
    if by == "mbar" and not restraints and not request.window_biases and len(temperatures | pressures) == 2:
        raise UsageError(
            "--by mbar: the windows are not known",
            "name the column of the bias with --bias, or give --at and --kappa",
        )
    if request.window_biases and len(request.window_biases) != len(read.states):
        columns = counted(len(request.window_biases), "column")
        problem = f"--window-biases: {columns} for {counted(len(read.states), 'window')}"
        raise UsageError(problem, "give one column for each window, in their order")
    # one bias at several temperatures may have any shape
    restraints = restraints and bool(
        request.kappa or request.windows or len(read.states) > len(temperatures) * len(pressures)
    )
    read.write(folder / "samples")
    job["axes"] = _axes(request, cvs, files[0], dict.fromkeys(cvs, BINS[len(cvs)]))
    job["samples"] = {"source": str(folder / "samples"), "columns": read.columns, "series": read.series}
    job["states"] = read.states
    if restraints:
        job["restrained"] = _axes(request, restrained, files[0], {}, whole=True)
        job["fit"] = not request.kappa
    if request.hills:
        from psiflow_cli.stages.free_energy import source

        headers = [header for header in map(source.of_plumed, request.hills) if header]
        if len(headers) < len(request.hills):
            raise UsageError("--hills: not a HILLS file of PLUMED", "give the file that METAD wrote")
        job["hills"] = gaussians.table(request, headers, folder / "hills")
        job["hills"]["is_recorded"] = _is_of_one_action(bias, files[0])


def _is_of_one_action(bias: Sequence[str], header: Header) -> bool:
    """Whether the bias is that of one action of PLUMED: its own column, or the total of all where there is one."""
    actions = [name for name in header.names if name.endswith(".bias")]
    return len(bias) == 1 and (bias[0].endswith(".bias") or (bias[0] in reading.RECORDED_BIAS and len(actions) == 1))


def _bias(by: Method, header: Header, request: Request) -> tuple[str, ...]:
    """The columns of the bias: those named, or one field `x.rbias`, or else one `x.bias`. Raises UsageError."""
    if request.bias:
        return () if request.bias == ("none",) else request.bias
    if request.window_biases:
        return ()
    endings = (".rbias", *reading.RECORDED_BIAS, ".bias")
    for ending in endings if by == "reweight" and not request.hills else endings[1:]:
        names = [name for name in header.names if name.endswith(ending)]
        if len(names) == 1:
            note(f"the bias is {names[0]}")
            return (names[0],)
        if names:
            raise UsageError(f"{header.file} has {', '.join(names)}", "name those whose sum is the bias with --bias")
    if by == "reweight":
        raise UsageError(
            f"{header.file}: it contains no recorded bias",
            "name its column with --bias, or give --bias none if there was no bias",
        )
    return ()


def _axes(
    request: Request, names: Sequence[str], header: Header, usual: dict[str, int], whole: bool = False
) -> list[Axis]:
    """The grid of each CV; `whole`: without bins and range, of those that are restrained."""
    axes: list[Axis] = []
    for option, values in (("--bins", request.bins), ("--range", request.ranges)):
        if values and not whole and len(values) not in (1, len(names)):
            raise UsageError(
                f"{option}: {counted(len(values), 'value')} for {counted(len(names), 'CV')}", "give one for each CV"
            )
    for place, name in enumerate(names):
        period = reading.period(request, header, name)
        bins = request.bins[min(place, len(request.bins) - 1)] if request.bins else usual.get(name, 1)
        low, high = (
            request.ranges[min(place, len(request.ranges) - 1)] if request.ranges and not whole else (None, None)
        )
        if period and low is not None and high is not None and high - low > period[1] - period[0] + 1e-9:
            raise UsageError(f"--range {low:g}:{high:g} is longer than the period of {name}", "leave it out")
        axes.append({"name": name, "low": low, "high": high, "bins": bins, "period": list(period) if period else None})
    return axes


def _publish(request: Request, workspace: Workspace, session: Session, result: FreeEnergy) -> None:
    files = [(request.job.output, list(profile(result)))]
    if request.convergence:
        files.append((request.convergence, list(convergence(result))))
    for output, rows in files:
        workspace.run.publish_text(as_csv(rows, list(rows[0])), output)
    if request.plot:
        single.make(workspace, session, _DRAW, {"result": result, "sheets": figures.sheets()}, request.plot)


def profile(result: FreeEnergy) -> Iterator[dict[str, object]]:
    """A row for each point: the CVs, the free energy and its error, empty where there is none."""
    for point, value, error in zip(points(result), result["free_energies"], result["errors"], strict=True):
        cvs = dict(zip(result["cvs"], point, strict=True))
        yield {**cvs, "free_energy_eV": _or_empty(value), "error_eV": _or_empty(error)}


def convergence(result: FreeEnergy) -> Iterator[dict[str, object]]:
    """A row for each point of each profile from a first part of the data."""
    for row in result["convergence"]:
        for point, value in zip(points(result), row["free_energies"], strict=True):
            cvs = dict(zip(result["cvs"], point, strict=True))
            yield {"fraction": row["fraction"], **cvs, "free_energy_eV": _or_empty(value)}


def points(result: FreeEnergy) -> list[tuple[float, ...]]:
    """All points of the grid, in the order of its values."""
    from itertools import product

    return list(product(*result["points"]))


def _or_empty(value: float | None) -> float | str:
    return "" if value is None else value


def _warn(result: FreeEnergy) -> None:
    for link in result["weak_links"]:
        note(
            f"warning: the overlap of {link['first']} with {link['second']} is {link['overlap']:.2g}, below 0.03: the "
            f"free energy difference across this gap is unreliable; add a window there, or sample longer"
        )
    if result["outside"]:
        note(f"{counted(result['outside'], 'sample')} outside the range of the profile")
    unknown = [basin["name"] for basin in result["basins"] if basin["free_energy"] is None]
    # the first basin is what the others are compared with: without it, all are unknown
    for name in unknown[:1] if len(unknown) == len(result["basins"]) else unknown:
        note(f"warning: --basins {name}: no sample or point of the grid lies in it, so its free energy is unknown")
