"""Forces that are all zero, that do not cancel, or that stand out."""

from __future__ import annotations

import heapq
import math
from array import array

from psiflow_cli.stages.check.findings import ERROR, OUTLIER_HINT, WARNING, Findings, Tally, Where
from psiflow_cli.stages.check.sample import Sample

NET = 0.01  # eV/Å per atom: a larger mean force is no rounding of a converged calculation
_SYMMETRIC = 8  # atoms of a periodic frame whose forces may all be zero by symmetry
_BINS_A_DECADE = 50
_LOWEST = -8  # decades below 1 eV/Å; smaller forces count as this
_DECADES = 16
_OUTLIER_Z = 6.0
_OUTLIER_RATIO = 20.0
"""A force stands out if its logarithm is so many deviations above the median, and it is so many times the median."""
_KEPT = 50


class Forces:
    def __init__(self) -> None:
        self.sizes: dict[str, array[int]] = {}  # for each element, a histogram of log10 |force|
        self._largest: dict[str, list[tuple[float, Where]]] = {}
        self._frames = 0
        self._zeros, self._unbalanced = Tally(), Tally()
        self._by_symmetry = True
        self._worst = 0.0

    def see(self, sample: Sample) -> None:
        if sample.forces is None or sample.natoms == 1:
            return
        self._frames += 1
        if not any(any(row) for row in sample.forces):
            self._zeros.see(sample.where)
            self._by_symmetry &= any(sample.frame.pbc) and sample.natoms <= _SYMMETRIC
            return
        net = math.hypot(*map(sum, zip(*sample.forces, strict=True))) / sample.natoms
        if net > NET:
            self._unbalanced.see(sample.where)
            self._worst = max(self._worst, net)
        self._sizes(sample)

    def _sizes(self, sample: Sample) -> None:
        largest: dict[str, float] = {}
        for element, row in zip(sample.frame.symbols, sample.forces or (), strict=True):
            size = math.hypot(*row)
            if size > largest.get(element, 0.0):
                largest[element] = size
            counts = self.sizes.get(element)
            if counts is None:
                counts = self.sizes[element] = array("Q", [0]) * (_DECADES * _BINS_A_DECADE)
            counts[_bin(size)] += 1
        for element, size in largest.items():
            heap = self._largest.setdefault(element, [])
            (heapq.heappush if len(heap) < _KEPT else heapq.heappushpop)(heap, (size, sample.where))

    def report(self, findings: Findings) -> None:
        if self._zeros.count:
            everywhere = self._zeros.count == self._frames and not self._by_symmetry
            what = f"all forces of {'every frame' if everywhere else 'a frame'} are zero"
            hint = "were they computed? only perfect crystals have zero forces"
            severity = ERROR if everywhere else WARNING
            findings.add(severity, "zero-forces", what, hint).concerns(self._zeros.count, self._zeros.places)
        if self._unbalanced.count:
            what = f"the forces of a frame do not add up to zero (up to {self._worst:.2g} eV/Å per atom)"
            hint = "are there fixed atoms, an external field or a loose convergence?"
            findings.add(WARNING, "net-force", what, hint).concerns(self._unbalanced.count, self._unbalanced.places)
        for element in sorted(self._largest):
            self._outliers(element, findings)

    def _outliers(self, element: str, findings: Findings) -> None:
        median, deviation = robust(self.sizes[element])
        least = max(median + _OUTLIER_Z * deviation, median + math.log10(_OUTLIER_RATIO))
        far = sorted((w, size) for size, w in self._largest[element] if size > 10**least)
        if far:
            size = max(size for _, size in far)
            what = f"a force on {element} of {size:.3g} eV/Å, where the median is {10**median:.2g} eV/Å"
            findings.add(WARNING, "outlier", what, OUTLIER_HINT, element).concerns(len(far), (w for w, _ in far))


def _bin(size: float) -> int:
    place = int((math.log10(size) - _LOWEST) * _BINS_A_DECADE) if size > 0 else 0
    return min(max(place, 0), _DECADES * _BINS_A_DECADE - 1)


def robust(counts: array[int]) -> tuple[float, float]:
    """Median of log10 |force| (eV/Å), and 1.4826 times the median distance from it, in a histogram."""
    middle = _median(list(enumerate(counts)))
    distances = sorted((abs(place - middle), count) for place, count in enumerate(counts) if count)
    deviation = _median(distances)
    return _LOWEST + (middle + 0.5) / _BINS_A_DECADE, 1.4826 * max(deviation, 1) / _BINS_A_DECADE


def _median(counted: list[tuple[int, int]]) -> int:
    """The middle of sorted values, each with its number."""
    half, seen = sum(count for _, count in counted) / 2, 0
    for value, count in counted:
        seen += count
        if seen >= half:
            return value
    return 0
