"""The grid of a free energy: values of CVs as numbers of bins, periodic ones included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psiflow_cli.errors import BAD_DATA
from psiflow_cli.worker.failures import Fatal

if TYPE_CHECKING:
    import numpy as np

    from psiflow_cli.messages import Axis, Basin

    Array = np.ndarray


def wrapped(difference: Array, period: Sequence[float] | None) -> Array:
    """Differences of a CV by the nearest image."""
    import numpy as np

    if period is None:
        return difference
    length = period[1] - period[0]
    return difference - length * np.round(difference / length)


@dataclass(frozen=True)
class Grid:
    """Bins of each CV between its edges."""

    names: list[str]
    edges: list[Array]
    periods: list[list[float] | None]

    @property
    def shape(self) -> tuple[int, ...]:
        """How many bins each CV has."""
        return tuple(len(edges) - 1 for edges in self.edges)

    @property
    def size(self) -> int:
        """How many bins there are."""
        import math

        return math.prod(self.shape)

    @property
    def centres(self) -> list[list[float]]:
        """The middle of each bin, of each CV."""
        return [[float(value) for value in 0.5 * (edges[1:] + edges[:-1])] for edges in self.edges]

    def bins(self, values: Array) -> Array:
        """The number of the bin of each sample, shape (n,), of CVs of shape (n, d); -1 outside the range."""
        import numpy as np

        number = np.zeros(len(values), dtype=np.int64)
        inside = np.ones(len(values), dtype=bool)
        for axis, (edges, period) in enumerate(zip(self.edges, self.periods, strict=True)):
            count = len(edges) - 1
            column = values[:, axis]
            if period:  # the image from the lowest edge on
                column = edges[0] + np.mod(column - edges[0], period[1] - period[0])
            scaled = np.floor((column - edges[0]) / (edges[-1] - edges[0]) * count)
            scaled[column == edges[-1]] = count - 1
            inside &= (scaled >= 0) & (scaled < count)
            number = number * count + np.clip(scaled, 0, count - 1).astype(np.int64)
        return np.where(inside, number, -1)


def of_samples(axes: Sequence[Axis], values: Array) -> Grid:
    """The grid of a profile of samples, shape (n, d). Raises Fatal where they span no range."""
    import numpy as np

    edges = []
    for axis, column in zip(axes, values.T, strict=True):
        low, high = ends(axis, float(column.min()), float(column.max()))
        edges.append(np.linspace(low, high, axis["bins"] + 1))
    return Grid([axis["name"] for axis in axes], edges, [axis["period"] for axis in axes])


def ends(axis: Axis, lowest: float, highest: float) -> tuple[float, float]:
    """Where an axis begins and ends: as asked, the whole period, or the values that there are."""
    period = axis["period"]
    usual = (period[0], period[1]) if period else (lowest, highest)
    low, high = (usual[i] if asked is None else asked for i, asked in enumerate((axis["low"], axis["high"])))
    if not low < high:
        raise Fatal(f"{axis['name']} is {lowest:g} in all samples", "choose another CV, or give --range", BAD_DATA)
    return low, high


def in_basin(basin: Basin, values: Array, periods: Sequence[Sequence[float] | None]) -> Array:
    """Which points, of shape (n, d), are in a basin: booleans of shape (n,)."""
    import numpy as np

    inside = np.ones(len(values), dtype=bool)
    for column, (low, high), period in zip(values.T, basin["ranges"], periods, strict=True):
        if period:
            length = period[1] - period[0]
            width = np.mod(high - low, length) or length
            inside &= np.mod(column - low, length) <= width
        else:
            inside &= (column >= low) & (column <= high)
    return inside


def above_lowest(probabilities: Array, kT: float) -> Array:
    """-kT ln p above its lowest value (eV); infinite where p is 0."""
    import numpy as np

    with np.errstate(divide="ignore"):
        energies: Array = -kT * np.log(probabilities)
    energies -= energies.min()
    return energies


def finite(values: Array) -> list[float | None]:
    """Numbers for JSON: None where there is none."""
    import numpy as np

    return [float(value) if np.isfinite(value) else None for value in values]
