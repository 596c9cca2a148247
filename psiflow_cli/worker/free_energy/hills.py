"""Sums of hills: the bias of metadynamics on a grid, as `plumed sum_hills` has it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from psiflow_cli.errors import BAD_DATA, counted
from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.free_energy.grid import ends, wrapped

if TYPE_CHECKING:
    import numpy as np

    from psiflow_cli.messages import Axis, HillsFile, SampleSeries

    Array = np.ndarray

_CUTOFF = 6.25  # of (s/sigma)²/2; PLUMED's dp2cutoff, at which its stretched Gaussians are 0
_MOST_POINTS = 20_000_000
_COMPARED = 100  # samples of each series whose recorded bias is compared with the sum of the hills


class Hills:
    """The Gaussians of a file, on a grid of all their CVs."""

    def __init__(self, file: HillsFile, axes: Sequence[Axis]) -> None:
        """Read them. Raises Fatal for a grid of too many points."""
        import numpy as np

        count = len(file["cvs"])
        rows = np.fromfile(file["source"]).reshape(-1, 2 + count + _widths(count, file["multivariate"]))
        self.time, self.centres, self.heights = rows[:, 0], rows[:, 1 : 1 + count], rows[:, -1]
        self._widths, self._file = rows[:, 1 + count : -1], file
        self.extent = self._extent()
        cut = math.sqrt(2 * _CUTOFF) * self.extent
        self.points = []
        for number, axis in enumerate(axes):
            low = float((self.centres[:, number] - cut[:, number]).min())
            high = float((self.centres[:, number] + cut[:, number]).max())
            first, last = ends(axis, low, high)
            whole = axis["period"] is not None and math.isclose(last - first, axis["period"][1] - axis["period"][0])
            self.points.append(np.linspace(first, last, axis["bins"] + (not whole), endpoint=not whole))
        self.shape = tuple(map(len, self.points))
        if math.prod(self.shape) > _MOST_POINTS:
            raise Fatal(
                f"a grid of {math.prod(self.shape)} points for {counted(count, 'CV')}", "give fewer --bins", BAD_DATA
            )

    def _extent(self) -> Array:
        """The standard deviation of each hill along each CV, shape (hills, CVs)."""
        import numpy as np

        if not self._file["multivariate"]:
            return self._widths
        factor = self._factors()
        extent: Array = np.sqrt((factor**2).sum(axis=2))
        return extent

    def _factors(self) -> Array:
        """The Cholesky factors of the covariances, shape (hills, CVs, CVs)."""
        import numpy as np

        count = len(self._file["cvs"])
        factor = np.zeros((len(self.centres), count, count))
        names = ((i + j, j) for i in range(count) for j in range(count - i))
        for number, (row, column) in enumerate(names):
            factor[:, row, column] = self._widths[:, number]
        return factor

    def add(self, total: Array, first: int, last: int) -> None:
        """Add the hills from `first` to before `last` to a grid, in eV."""
        import numpy as np

        inverse = self._inverse()
        for number in range(first, last):
            near, moved = [], []
            for axis, points in enumerate(self.points):
                away = wrapped(points - self.centres[number, axis], self._file["periods"][axis])
                near_points = np.flatnonzero(
                    np.abs(away) <= math.sqrt(2 * _CUTOFF) * self.extent[number, axis] * (1 + 1e-9)
                )
                near.append(near_points)
                moved.append(away[near_points])
            if inverse is None:
                scaled = [0.5 * (part / width) ** 2 for part, width in zip(moved, self._widths[number], strict=True)]
                half = sum(np.ix_(*scaled))
            else:
                mesh = np.stack(np.meshgrid(*moved, indexing="ij"))
                half = 0.5 * (np.tensordot(inverse[number], mesh, axes=1) ** 2).sum(axis=0)
            total[np.ix_(*near)] += self.heights[number] * self._kernel(np.asarray(half))

    def history(self, first: int, count: int, parts: int) -> Iterator[Array]:
        """Minus the sum of `count` hills after each of so many equal parts of them, in eV.

        Heights of a well-tempered HILLS are those of minus the free energy, so nothing is to be scaled.
        """
        import numpy as np

        total, summed = np.zeros(self.shape), first
        for part in range(1, parts + 1):
            last = first + count * part // parts
            self.add(total, summed, last)
            summed = last
            yield -total

    def _kernel(self, half: Array) -> Array:
        """A hill of height 1 where (s/sigma)²/2 has these values."""
        import numpy as np

        values: Array = np.exp(-half)
        if self._file["kernel"].lower() == "stretched-gaussian":
            edge = math.exp(-_CUTOFF)
            values = np.where(half < _CUTOFF, (values - edge) / (1 - edge), 0.0)
        return values

    def _inverse(self) -> Array | None:
        """The inverse Cholesky factors of multivariate hills, shape (hills, CVs, CVs); None for others."""
        import numpy as np

        return np.linalg.inv(self._factors()) if self._file["multivariate"] else None

    def _bias(self, point: Array, time: float, inverse: Array | None) -> float:
        """The bias in eV at one point [CVs] of the hills before a time (ps), which a COLVAR has as `x.bias`."""
        import numpy as np

        before = self.time < time
        away = np.stack(
            [
                wrapped(point[axis] - self.centres[before, axis], period)
                for axis, period in enumerate(self._file["periods"])
            ],
            axis=1,
        )
        scaled = away / self._widths[before] if inverse is None else (inverse[before] @ away[:, :, None])[:, :, 0]
        factor = self._file["bias_factor"]
        summed = float(self.heights[before] @ self._kernel(0.5 * (scaled**2).sum(axis=1)))
        return summed * (1 if factor == 1 else 1 - 1 / factor)

    def compare(self, samples: Sequence[SampleSeries], columns: Mapping[str, Array], kT: float) -> None:
        """Raise Fatal where the recorded bias is not that of the hills before: c(t) would be that of another bias.

        Then the times of hills and samples do not belong together: they are of two runs, or of one that started again
        at time 0.
        """
        import numpy as np

        if not self._file["is_recorded"] or not set(self._file["cvs"]) <= columns.keys():
            return
        points, begin = np.stack([columns[name] for name in self._file["cvs"]], axis=1), 0
        inverse = self._inverse()
        for series in samples:
            some = np.unique(np.linspace(begin, begin + series["count"] - 1, _COMPARED).astype(int))
            begin += series["count"]
            sums = np.array([self._bias(points[row], columns["time"][row], inverse) for row in some])
            off = float(np.quantile(np.abs(columns["bias"][some] - sums), 0.8))
            if off > kT:
                problem = (
                    f"{series['name']}: the recorded bias differs by {off:.2g} eV from the sum of the hills of "
                    f"{self._file['names']} before the same times"
                )
                rbias = "have PLUMED print rbias (CALC_RCT, with a grid), and give it as --bias without --hills"
                if self._file["is_shared"]:
                    hint = f"walkers of --share-bias do not record when they felt the hills of the others: {rbias}"
                else:
                    hint = f"give one run with its own hills, in which no time starts again at 0; or {rbias}"
                raise Fatal(problem, hint, BAD_DATA)

    def constants(self, times: Array, kT: float) -> Array:
        """c(t) in eV at each time: of the hills before it, Tiwary and Parrinello, J. Phys. Chem. B 119, 736 (2015)."""
        import numpy as np
        from scipy.special import logsumexp

        factor = self._file["bias_factor"]
        order = np.argsort(self.time, kind="stable")
        if (order != np.arange(len(order))).any():
            self.time, self.centres, self.heights = self.time[order], self.centres[order], self.heights[order]
            self._widths, self.extent = self._widths[order], self.extent[order]
        before = np.searchsorted(self.time, times, side="left")
        free = np.zeros(self.shape)  # of a well-tempered bias: minus its free energy, as its heights in the file are
        values, summed = np.zeros(len(times)), 0
        for count in np.unique(before):
            self.add(free, summed, int(count))
            summed = int(count)
            flat = math.log(free.size) if factor == 1 else float(logsumexp(free / (factor * kT)))
            values[before == count] = kT * (float(logsumexp(free / kT)) - flat)
        return values


def _widths(count: int, multivariate: bool) -> int:
    return count * (count + 1) // 2 if multivariate else count


def projected(free: Array, names: Sequence[str], remaining: Sequence[str], kT: float) -> Array:
    """A free energy without the CVs that are not kept, in the order of `remaining`: -kT ln Σ exp(-F/kT)."""
    from scipy.special import logsumexp

    integrated = tuple(number for number, name in enumerate(names) if name not in remaining)
    if integrated:
        free = -kT * logsumexp(-free / kT, axis=integrated)
    in_order = [name for name in names if name in remaining]
    result: Array = free.transpose([in_order.index(name) for name in remaining])
    return result
