"""Energies that stand out among frames of all compositions, or that no frame of those atoms can have."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence, Set
from statistics import median

from psiflow_cli.stages.check import methods
from psiflow_cli.stages.check.findings import ERROR, OUTLIER_HINT, WARNING, Findings, Places, SomePlaces
from psiflow_cli.stages.check.sample import Composition, Sample, Table

_OUTLIER_Z = 10.0
_OUTLIER_EV = 0.05
"""An energy stands out if it is so many deviations and so many eV per atom from what its composition gives."""
_APART_EV = 2.0  # per atom: chemistry explains less, once the elements' energies are taken off
_ABSURD_EV = 25.0
_BOUND_ERROR, _BOUND_WARNING = (-75.0, 50.0), (-25.0, 15.0)
"""eV per atom below the free atoms that frames may be; tungsten has 9, and atoms that are not polarised add up to 6."""
_REACH = 5.0  # Å: what a force of atoms that are pushed together makes of an energy
_FEWEST = 10
_MOST_SHARE = 0.05  # more than this share is another kind of frame, and no outlier

Somewhere = Places | SomePlaces


class Energies:
    """The largest force of every frame, in 4 bytes a frame, beside the energies and compositions of the table."""

    def __init__(self, table: Table, forces: Iterable[float] = ()) -> None:
        self._table, self._forces = table, array("f", forces)
        self._values, self._kinds, self._compositions = table.energies, table.kinds, table.compositions

    def see(self, sample: Sample) -> None:
        self._forces.append(max((math.hypot(*row) for row in sample.forces or ()), default=0.0))

    def part(self, numbers: Sequence[int]) -> Energies:
        """The same of some of the frames alone."""
        return Energies(self._table.part(numbers), (self._forces[number] for number in numbers))

    def report(self, findings: Findings, places: Somewhere, atoms: Mapping[str, float]) -> None:
        """Say what stands out; `atoms` are the energies of isolated atoms (eV)."""
        self._outliers(findings, places)
        self._bound(findings, places, atoms)

    def _bound(self, findings: Findings, places: Somewhere, atoms: Mapping[str, float]) -> None:
        """Compare with the atoms: error where no frame of a composition can belong to them, else a warning."""
        kinds = [composition for composition, _ in self._compositions]
        above = self._above([_of_atoms(kind, atoms) for kind in kinds])
        if self._far_from_atoms(above, ERROR, findings, places, atoms):
            return
        # what falls into two groups is of two methods, and belongs to the atoms of one
        if not self._two_groups(findings, places, above, _ABSURD_EV):
            self._far_from_atoms(above, WARNING, findings, places, atoms)

    def _far_from_atoms(
        self, above: Sequence[float], severity: str, findings: Findings, places: Somewhere, atoms: Mapping[str, float]
    ) -> bool:
        """Say and return whether frames are further from the free atoms than any method puts them."""
        (low, high), share = (_BOUND_ERROR, 1.0) if severity == ERROR else (_BOUND_WARNING, 0.5)
        frames = Counter(self._kinds[index] for index in _defined(above))
        # atoms pushed together are high above free ones, and say so by their forces
        far = Counter(
            self._kinds[index]
            for index, energy in enumerate(above)  # comparisons with nan are false
            if -energy > high or -energy < low - _REACH * self._forces[index]
        )
        wrong = {kind for kind, count in far.items() if count >= share * frames[kind]}
        # an element that belongs to frames that are right has the right energy, and its frame is wrong
        guilty = self._elements(wrong) - self._elements(frames.keys() - wrong)
        wrong = {kind for kind in wrong if guilty & self._elements({kind})}
        where = array("I", (index for index in _defined(above) if self._kinds[index] in wrong))
        if where:
            energy = max((above[index] for index in where), key=abs)
            given = ", ".join(f"{element} {atoms[element]:g} eV" for element in sorted(guilty))
            side = "above" if energy > 0 else "below"
            what = f"frames lie up to {abs(energy):.3g} eV per atom {side} their isolated atoms ({given})"
            hint = "atoms and frames must come from one method, with the same potentials, in eV"
            finding = findings.add(severity, "isolated-atoms", what, hint, "bound")
            finding.concerns(len(where), (places[index] for index in where))
        return bool(where)

    def _elements(self, kinds: Set[int]) -> set[str]:
        return {e for kind, (composition, _) in enumerate(self._compositions) if kind in kinds for e, _ in composition}

    def _above(self, of_kind: Sequence[float]) -> array[float]:
        """How far each frame is above so much of its composition, in eV per atom; nan where that is not known."""
        every = zip(self._kinds, self._values, strict=True)
        sizes = [_natoms(kind) for kind, _ in self._compositions]
        return array("d", ((energy - of_kind[kind]) / sizes[kind] for kind, energy in every))

    def _outliers(self, findings: Findings, places: Somewhere) -> None:
        kinds = [composition for composition, _ in self._compositions]
        count = sum(1 for _ in _defined(self._values))
        if count < _FEWEST:
            return
        far: dict[int, float] = {}
        for _ in range(3):  # what stands out must not bend the fit
            fit = _fit([(kind, *sums) for kind, sums in zip(kinds, self._sums(far), strict=True)])
            of_kind = [sum(count * fit[element] for element, count in kind) for kind in kinds]
            rest = self._above(of_kind)
            far = _far(rest)
            if len(far) > _MOST_SHARE * count:
                # so many are another kind of frame, but not if neither chemistry nor a force explains the energy
                far = {i: value for i, value in far.items() if abs(value) > _ABSURD_EV + _REACH * self._forces[i]}
                far = {} if len(far) > count / 2 else far
                break
        if not self._two_groups(findings, places, rest) and far:
            worst = max(far.values(), key=abs)
            what = (
                f"an energy {abs(worst):.3g} eV per atom {'above' if worst > 0 else 'below'} the value expected from "
                "its composition"
            )
            finding = findings.add(WARNING, "outlier", what, OUTLIER_HINT, "energy")
            finding.concerns(len(far), (places[index] for index in far))

    def _sums(self, without: Container[int]) -> list[tuple[int, float]]:
        """For each composition how many frames it has, and the sum of their energies (eV)."""
        counts, sums = [0] * len(self._compositions), [0.0] * len(self._compositions)
        for index in _defined(self._values):
            if index not in without:
                counts[self._kinds[index]] += 1
                sums[self._kinds[index]] += self._values[index]
        return list(zip(counts, sums, strict=True))

    def _two_groups(
        self, findings: Findings, places: Somewhere, rest: Sequence[float], least: float = _APART_EV
    ) -> bool:
        """Say and return whether the energies less those of the elements fall into two groups far from each other."""
        states = [state for _, state in self._compositions]
        usual = Counter(states[self._kinds[index]] for index in _defined(rest)).most_common(1)
        # ions and excited states have other energies
        alike = array("I", (index for index in _defined(rest) if states[self._kinds[index]] == usual[0][0]))
        order = sorted(methods.evenly(alike), key=rest.__getitem__)
        split = methods.gap([rest[index] for index in order], least)
        if split:
            below, above = array("I"), array("I")
            for index in alike:
                (above if rest[index] >= rest[order[split.place]] else below).append(index)
            few = min(below, above, key=len)
            what = f"{methods.GROUPS.format(split.width)}, whatever their composition"
            finding = findings.add(WARNING, "mixed-references", what, methods.HINT, "groups")
            finding.concerns(len(few), (places[index] for index in few))
        return bool(split)


def _defined(values: Sequence[float]) -> Iterator[int]:
    """The places of those that are not nan."""
    return (index for index, value in enumerate(values) if not math.isnan(value))


def _natoms(kind: Composition) -> int:
    return sum(count for _, count in kind)


def _of_atoms(kind: Composition, atoms: Mapping[str, float]) -> float:
    """The energy of the free atoms; nan where one is not known."""
    return math.fsum(count * atoms.get(element, math.nan) for element, count in kind)


def _far(rest: Sequence[float]) -> dict[int, float]:
    """What is far from the median of all, less that median."""
    some = methods.evenly(array("d", (rest[index] for index in _defined(rest))))
    middle = median(some)
    deviation = 1.4826 * median(abs(value - middle) for value in some)
    limit = max(_OUTLIER_Z * deviation, _OUTLIER_EV)
    return {index: value - middle for index, value in enumerate(rest) if abs(value - middle) > limit}


def _fit(frames: list[tuple[Composition, int, float]]) -> Counter[str]:
    """Energies of elements (eV) that give the energies per atom best; 0 for one that the others decide.

    Of each composition it is given the number of frames and the sum of their energies.
    """
    elements = sorted({element for kind, number, _ in frames for element, _ in kind if number})
    index = {element: place for place, element in enumerate(elements)}
    size = len(elements)
    rows = [[0.0] * (size + 1) for _ in range(size)]
    for kind, number, energy in frames:
        if not number:
            continue
        natoms = sum(count for _, count in kind)
        shares = [(index[element], count / natoms) for element, count in kind]
        for place, share in shares:
            for other, factor in shares:
                rows[place][other] += number * share * factor
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
