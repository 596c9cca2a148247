"""Energies that stand out among frames of all compositions."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from statistics import median

from psiflow_cli.stages.check.findings import OUTLIER_HINT, WARNING, Findings, Places
from psiflow_cli.stages.check.sample import Sample

_OUTLIER_Z = 10.0
_OUTLIER_EV = 0.05
"""An energy stands out if it is so many deviations and so many eV per atom from what its composition gives."""
_FEWEST = 10
_MOST_SHARE = 0.05  # more than this share is another kind of frame, and no outlier

Composition = tuple[tuple[str, int], ...]


class Energies:
    """The energy and the composition of every frame, in 12 bytes a frame."""

    def __init__(self) -> None:
        self._energies = array("d")
        self._kinds = array("I")
        self._compositions: dict[Composition, int] = {}

    def see(self, sample: Sample) -> None:
        kind = tuple(sorted(Counter(sample.frame.symbols).items()))
        self._kinds.append(self._compositions.setdefault(kind, len(self._compositions)))
        left_out = sample.energy is None or sample.isolated
        self._energies.append(math.nan if left_out else sample.energy or 0.0)

    def report(self, findings: Findings, places: Places) -> None:
        kinds = list(self._compositions)
        sizes = [sum(count for _, count in kind) for kind in kinds]
        labelled = [index for index, energy in enumerate(self._energies) if not math.isnan(energy)]
        if len(labelled) < _FEWEST:
            return
        fitted, far = labelled, {}
        for _ in range(3):  # what stands out must not bend the fit
            fit = _fit([(kinds[self._kinds[i]], self._energies[i]) for i in fitted])
            of_kind = [sum(count * fit[element] for element, count in kind) for kind in kinds]
            rest = {i: (self._energies[i] - of_kind[self._kinds[i]]) / sizes[self._kinds[i]] for i in labelled}
            far = _far(rest)
            if len(far) > _MOST_SHARE * len(labelled):
                return
            fitted = [i for i in labelled if i not in far]
        if far:
            worst = max(far.values(), key=abs)
            what = (
                f"an energy {abs(worst):.3g} eV per atom {'above' if worst > 0 else 'below'} what its composition gives"
            )
            finding = findings.add(WARNING, "outlier", what, OUTLIER_HINT, "energy")
            finding.concerns(len(far), (places[index] for index in far))


def _far(rest: dict[int, float]) -> dict[int, float]:
    """What is far from the median of all, less that median."""
    middle = median(rest.values())
    deviation = 1.4826 * median(abs(value - middle) for value in rest.values())
    limit = max(_OUTLIER_Z * deviation, _OUTLIER_EV)
    return {index: value - middle for index, value in rest.items() if abs(value - middle) > limit}


def _fit(frames: list[tuple[Composition, float]]) -> Counter[str]:
    """Energies of elements (eV) that give the energies per atom best; 0 for one that the others decide."""
    elements = sorted({element for kind, _ in frames for element, _ in kind})
    index = {element: place for place, element in enumerate(elements)}
    size = len(elements)
    rows = [[0.0] * (size + 1) for _ in range(size)]
    for kind, energy in frames:
        natoms = sum(count for _, count in kind)
        shares = [(index[element], count / natoms) for element, count in kind]
        for place, share in shares:
            for other, factor in shares:
                rows[place][other] += share * factor
            rows[place][size] += share * energy / natoms
    return Counter(dict(zip(elements, _solved(rows), strict=True)))


def _solved(rows: list[list[float]]) -> list[float]:
    """Gaussian elimination of equations that may depend on each other; an unknown without a pivot is 0."""
    size = len(rows)
    largest = max(abs(x) for row in rows for x in row[:size])
    pivots: list[tuple[int, int]] = []
    free = set(range(size))
    for column in range(size):
        best = max(free, key=lambda place: abs(rows[place][column]), default=None)
        if best is None or abs(rows[best][column]) <= 1e-9 * largest:
            continue
        free.remove(best)
        pivots.append((best, column))
        for place in range(size):
            if place != best:
                factor = rows[place][column] / rows[best][column]
                rows[place] = [x - factor * y for x, y in zip(rows[place], rows[best], strict=True)]
    solution = [0.0] * size
    for place, column in pivots:
        solution[column] = rows[place][size] / rows[place][column]
    return solution
