"""Windows: harmonic restraints, what they are by the recorded bias, and samples that are independent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from psiflow_cli.errors import BAD_DATA
from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.free_energy.grid import wrapped

if TYPE_CHECKING:
    import numpy as np

    from psiflow_cli.messages import Axis, Discarding, SampleSeries, State

    Array = np.ndarray

_RELATIVE, _ABSOLUTE = 1e-3, 1e-5  # how far a recorded bias may be from a parabola: a share of its range, and eV


def harmonic(state: State, values: Array, axes: Sequence[Axis]) -> Array:
    """The bias (eV) of a window on samples of the restrained CVs, shape (n, d): Σ ½ κ (s - at)²."""
    import numpy as np

    total = np.zeros(len(values))
    for column, at, kappa, axis in zip(values.T, state["at"], state["kappa"], axes, strict=True):
        total += 0.5 * kappa * wrapped(column - at, axis["period"]) ** 2
    return total


def fit(state: State, values: Array, bias: Array, axes: Sequence[Axis]) -> State:
    """A window with the centres and force constants that its recorded bias (eV) has. Raises Fatal if it has none."""
    import numpy as np

    origin = values[np.argmin(bias)]
    moved = np.stack([wrapped(column - at, axis["period"])
                      for column, at, axis in zip(values.T, origin, axes, strict=True)], axis=1)  # fmt: skip
    widths = moved.std(axis=0)
    names = ", ".join(axis["name"] for axis in axes)
    if len(moved) < 2 * (1 + 2 * len(axes)) or not np.all(widths > 0):
        raise Fatal(f"{state['name']}: too few samples to determine its restraint", _GIVE, BAD_DATA)
    scaled = moved / widths
    design = np.hstack([np.ones((len(scaled), 1)), scaled, scaled**2])
    solution, *_ = np.linalg.lstsq(design, bias, rcond=None)
    linear, square = (part / widths**power for power, part in enumerate(np.split(solution[1:], 2), 1))
    allowed = _RELATIVE * float(np.ptp(bias)) + _ABSOLUTE
    if np.abs(design @ solution - bias).max() > allowed or not np.all(square > 0):
        problem = f"{state['name']}: the recorded bias is not one harmonic restraint of {names}"
        raise Fatal(problem, _NOT_HARMONIC, BAD_DATA)
    at = origin - linear / (2 * square)
    return {**state, "at": [float(value) for value in at], "kappa": [float(2 * value) for value in square]}


_GIVE = "give --at and --kappa"
_NOT_HARMONIC = (
    "name the CVs that the restraint acts on with --restrained, the columns that distinguish windows in one file with "
    "--windows, and the bias of the restraint with --bias; for biases of any shape use --window-biases"
)


def check(state: State, values: Array, bias: Array, axes: Sequence[Axis]) -> None:
    """Raise Fatal where a recorded bias (eV) is not that of the centres and force constants that were given."""
    import numpy as np

    difference = harmonic(state, values, axes) - bias
    worst = int(np.argmax(np.abs(difference)))
    if abs(difference[worst]) > _RELATIVE * 10 * float(np.ptp(bias)) + 10 * _ABSOLUTE:
        problem = (
            f"{state['name']}: --at and --kappa give a bias of {difference[worst] + bias[worst]:.6g} eV where "
            f"{bias[worst]:.6g} eV was recorded"
        )
        hint = (
            "check the order of the files and --energy-unit, or leave out --at and --kappa: they follow from the bias"
        )
        raise Fatal(problem, hint, BAD_DATA)


def beginnings(series: Sequence[SampleSeries], values: Array, time: Array, discard: Discarding) -> list[int]:
    """How many rows of each series are left out at its beginning. Raises Fatal where nothing would remain."""
    import numpy as np

    left_out, begin = [], 0
    for each in series:
        rows = slice(begin, begin + each["count"])
        begin += each["count"]
        if discard["kind"] == "auto":
            count = max(_equilibration(column) for column in values[rows].T)
        elif discard["kind"] == "share":
            count = int(discard["value"] * each["count"])
        else:
            own = time[rows]
            count = int(np.searchsorted(own - own[0], discard["value"]))
        if count >= each["count"]:
            raise Fatal(f"{each['name']}: --discard removes all of its samples", "discard less", BAD_DATA)
        left_out.append(count)
    return left_out


def _timeseries() -> Any:
    from psiflow_cli.worker.free_energy.mbar import _pymbar

    return _pymbar().timeseries


def _equilibration(column: Array) -> int:
    """Chodera, J. Chem. Theory Comput. 12, 1799 (2016): the start that leaves most independent samples."""
    if len(column) < 20 or column.max() == column.min():
        return 0
    step = max(1, len(column) // 100)
    return int(_timeseries().detect_equilibration(column, fast=True, nskip=step)[0])


def independent(values: Array) -> Array:
    """The numbers of samples, of CVs of shape (n, d), that are a statistical inefficiency apart."""
    import numpy as np

    columns = [column for column in values.T if len(column) > 3 and column.max() > column.min()]
    if not columns:
        return np.arange(len(values))
    timeseries = _timeseries()
    inefficiency = max(float(timeseries.statistical_inefficiency(column)) for column in columns)
    return np.asarray(timeseries.subsample_correlated_data(columns[0], g=inefficiency), dtype=np.int64)
