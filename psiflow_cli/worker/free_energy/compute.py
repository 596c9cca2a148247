"""A free energy from what a command has read: the one call on a worker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from psiflow_cli.errors import BAD_DATA
from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.free_energy import grid, mbar, reweighting, windows
from psiflow_cli.worker.free_energy.hills import Hills, projected

if TYPE_CHECKING:
    import numpy as np

    from psiflow_cli.messages import Axis, BasinRow, ConvergenceRow, FreeEnergy, FreeEnergyJob, WindowRow

    Array = np.ndarray

_FRACTIONS = 10
_PARTS = 40  # parts of the hills of a bias; their sum is compared with the last one after each part


class Estimate(Protocol):
    """Weighted samples: probabilities of groups of them, and errors of ln p."""

    def probabilities(self, groups: Array, size: int) -> Array: ...

    def errors(self, groups: Array, size: int, reference: int) -> Array: ...


def compute(job: FreeEnergyJob) -> FreeEnergy:
    """*worker*: the free energy that a job asks for. Raises Fatal for data that cannot give it."""
    return _sum_of_hills(job) if job["by"] == "hills" else _of_samples(job)


def _of_samples(job: FreeEnergyJob) -> FreeEnergy:
    import numpy as np

    samples, kT = job["samples"], job["kT"]
    assert kT is not None
    table = np.fromfile(samples["source"]).reshape(-1, len(samples["columns"]))
    columns = {name: table[:, number] for number, name in enumerate(samples["columns"])}
    values = np.stack([columns[axis["name"]] for axis in job["axes"]], axis=1)
    restrained = job.get("restrained", [])
    own = np.stack([columns[axis["name"]] for axis in restrained], axis=1) if restrained else values
    series = samples["series"]
    left_out = windows.beginnings(series, own, columns.get("time", np.arange(len(table))), job["discard"])
    rows, begin = [], 0
    for each, count in zip(series, left_out, strict=True):
        after_discard = np.arange(begin + count, begin + each["count"])
        rows.append(
            after_discard[windows.independent(np.hstack([own, values])[after_discard])]
            if job["by"] == "mbar"
            else after_discard
        )
        begin += each["count"]
    states = np.repeat([each["state"] for each in series], [each["count"] for each in series])
    solve, reports = (_mbar if job["by"] == "mbar" else _reweighted)(job, columns, own, states, rows)
    chosen = np.concatenate(rows)
    cells = grid.of_samples(job["axes"], values[chosen])
    groups = cells.bins(values[chosen])
    if not (groups >= 0).any():
        raise Fatal("no sample is within --range", "--range is in the unit of the files", BAD_DATA)
    estimate = solve(rows)
    p = estimate.probabilities(groups, cells.size)
    lowest = int(np.argmax(p))
    with np.errstate(invalid="ignore"):
        errors = kT * estimate.errors(groups, cells.size, lowest)
    errors[p == 0] = np.nan
    free = grid.above_lowest(p, kT)
    for number, report in enumerate(reports):
        mine = [i for i, each in enumerate(series) if each["state"] == number]
        report["samples"] = sum(series[i]["count"] for i in mine)
        report["discarded"] = sum(left_out[i] for i in mine)
        report["used"] = sum(len(rows[i]) for i in mine)
    overlap = estimate.overlap() if isinstance(estimate, mbar.Solution) else np.zeros((0, 0))
    basins = _basins_of(job, values[chosen])
    result: FreeEnergy = {
        "cvs": cells.names, "points": cells.centres, "free_energies": grid.finite(free), "errors": grid.finite(errors),
        "windows": reports, "overlap": overlap.tolist(),
        "weak_links": mbar.weak_links(overlap, [report["name"] for report in reports]) if len(overlap) else [],
        "basins": [], "convergence": [], "samples": len(table), "outside": int((groups < 0).sum()),
        "used": estimate.effective if isinstance(estimate, reweighting.Weighted) else float(len(chosen)),
    }  # fmt: skip
    for number, basin in enumerate(job["basins"]):
        one, error = _difference(estimate, basins[0], basins[number], kT)
        result["basins"].append({"name": basin["name"], "free_energy": one, "error": error})
    if job["convergence"]:
        for step in range(1, _FRACTIONS + 1):
            part = [each[: max(1, len(each) * step // _FRACTIONS)] for each in rows]
            some = values[np.concatenate(part)]
            weighed = solve(part)
            profile = grid.above_lowest(weighed.probabilities(cells.bins(some), cells.size), kT)
            inside = _basins_of(job, some)
            differences = [_difference(weighed, inside[0], each, kT)[0] for each in inside]
            result["convergence"].append(_row(step / _FRACTIONS, profile, free, differences))
    return result


def _basins_of(job: FreeEnergyJob, values: Array) -> list[Array]:
    periods = [axis["period"] for axis in job["axes"]]
    return [grid.in_basin(basin, values, periods) for basin in job["basins"]]


def _difference(estimate: Estimate, first: Array, second: Array, kT: float) -> tuple[float | None, float | None]:
    """The free energy of a basin above the first one's, and its error; each as a group beside all other samples."""
    import numpy as np

    if not (first.any() and second.any()):
        return None, None
    if (first == second).all():
        return 0.0, 0.0
    groups = np.where(first, 0, np.where(second, 1, -1))
    p = estimate.probabilities(groups, 2)
    error = kT * estimate.errors(groups, 2, 0)[1]
    return float(-kT * np.log(p[1] / p[0])), float(error) if np.isfinite(error) else None


Solve = Callable[[Sequence["Array"]], Estimate]


def _mbar(
    job: FreeEnergyJob, columns: dict[str, Array], own: Array, states: Array, rows: list[Array]
) -> tuple[Solve, list[WindowRow]]:
    """What solves for some rows of each series, and the windows."""
    import numpy as np

    given_states, restrained = job["states"], job.get("restrained", [])
    if restrained:
        fit = job.get("fit", False)
        for number, state in enumerate(given_states):
            mine = states == number
            if fit:
                given_states[number] = windows.fit(state, own[mine], columns["bias"][mine], restrained)
            elif "bias" in columns:
                windows.check(state, own[mine], columns["bias"][mine], restrained)
    energy = columns.get("energy", np.zeros(len(own)))
    energy = energy - energy.mean()  # so that little is lost in the differences
    volume = columns.get("volume", np.zeros(len(own)))
    volume = volume - volume.mean()
    reduced = []
    for number, state in enumerate(given_states):
        if restrained:
            bias = windows.harmonic(state, own, restrained)
        else:
            bias = columns.get(f"bias_{number}", columns.get("bias", np.zeros(len(own))))
        reduced.append((energy + state["pressure"] * volume + bias) / state["kT"])
    kT = job["kT"]
    assert kT is not None
    matrix, reduced_profile = np.array(reduced), (energy + job["pressure"] * volume) / kT
    start: Array | None = None

    def solve(some: Sequence[Array]) -> mbar.Solution:
        nonlocal start
        chosen = np.concatenate(some)
        order = chosen[np.argsort(states[chosen], kind="stable")]
        solution = mbar.solve(
            matrix[:, order], np.bincount(states[order], minlength=len(given_states)), reduced_profile[order], start
        )
        start = solution.free_energies
        back = np.empty(len(order), dtype=np.int64)
        back[np.argsort(states[chosen], kind="stable")] = np.arange(len(order))
        return mbar.Solution(
            solution.counts, solution.state_weights[back], solution.weights[back], solution.free_energies
        )

    return solve, [_window(job, number, own, states) for number in range(len(given_states))]


def _reweighted(
    job: FreeEnergyJob, columns: dict[str, Array], own: Array, states: Array, rows: list[Array]
) -> tuple[Solve, list[WindowRow]]:
    import numpy as np

    kT, samples = job["kT"], job["samples"]
    assert kT is not None
    bias = columns.get("bias", np.zeros(len(own)))
    if hills := job.get("hills"):
        axes: list[Axis] = [
            {"name": name, "low": None, "high": None, "bins": 100, "period": period}
            for name, period in zip(hills["cvs"], hills["periods"], strict=True)
        ]
        total = Hills(hills, axes)
        total.compare(samples["series"], columns, kT)
        bias = bias - total.constants(columns["time"], kT)

    def solve(some: Sequence[Array]) -> reweighting.Weighted:
        chosen = np.concatenate(some)
        return reweighting.weigh(bias[chosen], kT, [len(each) for each in some], job["blocks"])

    return solve, []


def _window(job: FreeEnergyJob, number: int, own: Array, states: Array) -> WindowRow:
    state, mine = job["states"][number], own[states == number]
    # a mean that a periodic CV has, too
    axes = job.get("restrained", []) or job["axes"]
    means = [float(column[0] + grid.wrapped(column - column[0], axis["period"]).mean())
             for column, axis in zip(mine.T, axes, strict=True)]  # fmt: skip
    return {
        "name": state["name"], "temperature_kT": state["kT"], "at": state.get("at", []),
        "kappa": state.get("kappa", []), "mean": means, "samples": 0, "discarded": 0, "used": 0,
    }  # fmt: skip


def _row(fraction: float, profile: Array, whole: Array, basins: list[float | None]) -> ConvergenceRow:
    """One line about convergence: the rms deviation over the lower half of the whole profile, without its mean."""
    import numpy as np

    low = whole <= 0.5 * whole[np.isfinite(whole)].max()
    difference = (profile - whole)[low]
    known = np.isfinite(difference).all()
    deviation = float(np.std(difference)) if known else None
    return {"fraction": fraction, "free_energies": grid.finite(profile), "deviation": deviation, "basins": basins}


def _sum_of_hills(job: FreeEnergyJob) -> FreeEnergy:
    import numpy as np

    file, kT = job["hills"], job["kT"]
    every: dict[str, Axis] = {
        name: {"name": name, "low": None, "high": None, "bins": 100, "period": period}
        for name, period in zip(file["cvs"], file["periods"], strict=True)
    }
    every.update({axis["name"]: axis for axis in job["axes"]})
    hills = Hills(file, list(every.values()))
    names = [axis["name"] for axis in job["axes"]]
    points = [hills.points[list(every).index(name)] for name in names]
    mesh = np.stack([each.ravel() for each in np.meshgrid(*points, indexing="ij")], axis=1)
    inside = _basins_of(job, mesh)
    history, first = [], 0
    for count in file["counts"]:
        history.append([projected(total, list(every), names, kT or 1.0).ravel()
                        for total in hills.history(first, count, _PARTS)])  # fmt: skip
        first += count
    each = np.array(history)  # [biases, parts of the hills, points]
    mean = each.mean(axis=0)
    whole = mean[-1] - mean[-1].min()
    lowest = int(whole.argmin())
    has_history = min(file["counts"]) >= _PARTS
    errors = _spread(each - each[:, :, [lowest]]) if has_history else np.full(len(whole), np.nan)
    basins: list[BasinRow] = []
    for basin, there in zip(job["basins"], inside, strict=True):
        differences = [[_on_grid(profile, inside[0], there, kT) for profile in own] for own in each]
        value = _on_grid(whole, inside[0], there, kT)
        error = None if value is None or not has_history else float(_spread(np.array(differences)))
        basins.append({"name": basin["name"], "free_energy": value, "error": error})
    steps = range(_PARTS // _FRACTIONS, _PARTS + 1, _PARTS // _FRACTIONS) if job["convergence"] else ()
    return {
        "cvs": names, "points": [each.tolist() for each in points], "free_energies": grid.finite(whole),
        "errors": grid.finite(errors), "windows": [], "overlap": [], "weak_links": [], "basins": basins,
        "convergence": [
            _row(step / _PARTS, mean[step - 1] - mean[step - 1].min(), whole,
                 [_on_grid(mean[step - 1], inside[0], there, kT) for there in inside])
            for step in steps
        ],
        "samples": first, "used": float(first), "outside": 0,
    }  # fmt: skip


def _spread(history: Array) -> Array:
    """The standard error of the last values, averaged over biases; shape [biases, parts, ...].

    For one bias it is the root mean square difference between the values during the second half of the hills and the
    last value, because a filled bias fluctuates around the free energy (Laio and Gervasio, Rep. Prog. Phys. 71, 126601
    (2008)). For several biases, the differences between them count as well (Bussi and Laio, Nat. Rev. Phys. 2, 200
    (2020)). For a double well, deviations from the exact value, divided by this error, have a standard deviation of
    0.65 (plain metadynamics), 0.95 (a bias factor of 8) and 1.3 (a bias factor of 3).
    """
    import numpy as np

    number, parts = history.shape[:2]
    away = history[:, parts // 2 :] - history[:, -1].mean(axis=0)
    return np.asarray(np.sqrt((away**2).mean(axis=1).sum(axis=0) / (number * max(1, number - 1))))


def _on_grid(profile: Array, first: Array, second: Array, kT: float | None) -> float | None:
    from scipy.special import logsumexp

    if not kT or not (first.any() and second.any()):
        return None
    return float(kT * (logsumexp(-profile[first] / kT) - logsumexp(-profile[second] / kT)))
