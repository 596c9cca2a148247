"""Energies, forces and stresses that are not in eV and Å, told by their size and by how they belong together.

Four things tell. Between similar frames the energy changes by minus the mean force times the displacement, and where
the cell changes by the stress times volume and strain; the sides need not agree well, but Hartree beside eV is a factor
of 27. Forces change with the displacement by 1 eV/Å² or more wherever there are bonds, and by more where hydrogen is
bound. A calculation with all electrons has energies that the atomic numbers give within a few per cent: the
Thomas-Fermi-Dirac-Scott formula (Schwinger, Phys. Rev. A 24, 2353 (1981)); and no method has energies far below these.
"""

from __future__ import annotations

import math

from psiflow_cli.elements import SYMBOLS
from psiflow_cli.stages.check.findings import ERROR, WARNING, Findings, Where
from psiflow_cli.stages.check.pairs import Neighbours, Pair, regression
from psiflow_cli.stages.check.sample import Sample
from psiflow_cli.stages.check.stresses import Strained

_FRAMES = 2000  # so many frames, the first, are compared with those before them
_PAIRS = 20
_FEWEST = 4
_FACTOR = 6.0  # between a factor that anharmonic motion explains (2 to 3) and 27, 23 or 13.6
_STRAIGHT, _SLOPE = 0.99, 1.5
"""Where the correlation is so good, anharmonic motion explains no larger factor, nor its inverse."""
_SOFT, _SOFT_BOUND, _STIFF = 0.25, 1.5, 150.0
"""eV/Å²: least change of the forces with the displacement, in solids and molecules, and with H on C, N or O; and most.

Bound hydrogen has 3 to 70 in eV/Å, most of it 4 to 10, and 0.06 to 1.4 in Ha/bohr; a metal has 10 to 20, HCN 94.
"""
_NOBLE = {"He", "Ne", "Ar", "Kr", "Xe", "Rn"}
_LIKE_ALL_ELECTRONS = 0.03
_HARTREE = 27.211386
_IMPOSSIBLE = 1.5 * _HARTREE  # eV; relativity makes 1.1 of heavy atoms, molecular hydrogen 1.2
_ATOM_OF_HYDROGEN = (-0.51, -0.38)
"""The isolated atom's energy in Hartree, by any method; in eV no method gives this."""
_ENERGIES = {"Hartree": 1 / _HARTREE, "Rydberg": 2 / _HARTREE, "kcal/mol": 23.060548, "kJ/mol": 96.485332, "meV": 1e3}
_FORCES = {"Ha/bohr": 1 / 51.422067, "Ry/bohr": 1 / 25.711034, "kcal/mol/Å": 23.060548, "kJ/mol/Å": 96.485332}
_FORCES |= {"kJ/mol/nm": 964.85332, "meV/Å": 1e3}
"""1 eV and 1 eV/Å in units that files have instead."""
_HINT = (
    "energies are in eV, forces in eV/Å: 1 Ha = 27.2114 eV, 1 Ry = 13.6057 eV, 1 kcal/mol = 0.0433641 eV, "
    "1 kJ/mol = 0.0103643 eV, 1 Ha/bohr = 51.4221 eV/Å"
)


class Units:
    """Evidence for the units of one file, and what it says."""

    def __init__(self) -> None:
        self._neighbours = Neighbours()
        self._pairs: list[Pair] = []
        self._stiffness: list[tuple[float, float]] = []  # distance of a pair, and its stiffness
        self._strained = Strained()
        self._compared = 0
        self._ratios = 0.0  # sum of energies over those of all electrons
        self._lowest_atom = 0.0  # the largest such ratio of an isolated atom
        self._first: list[Where] = []
        self._hydrogen = False
        self._softest = _SOFT_BOUND
        """The least that the forces of any of the frames should change with the displacement, in eV/Å²."""

    def see(self, sample: Sample) -> None:
        self._strained.see(sample)
        if sample.energy is None or self._compared == _FRAMES:
            return
        self._first = self._first or [sample.where]
        ratio = -sample.energy / sum(map(all_electrons, sample.frame.symbols))
        if sample.isolated:
            low, high = _ATOM_OF_HYDROGEN
            self._hydrogen |= sample.frame.symbols == ["H"] and low < sample.energy < high
            self._lowest_atom = max(self._lowest_atom, ratio)
            return
        self._compared += 1
        self._softest = min(self._softest, _softest({*sample.frame.symbols}))
        self._ratios += ratio
        if sample.forces is not None and (sample.natoms > 1 or sample.stress):
            pair = self._neighbours.nearest(sample)
            self._pairs += [pair] if pair else []
            if pair and pair.stiffness and sample.natoms > 2:  # two atoms are put at all distances
                self._stiffness.append((pair.distance, pair.stiffness))
            self._strained.compare(pair, sample)

    def report(self, findings: Findings, mixed: bool = False) -> None:
        """Say what is wrong; energies of several methods (`mixed`) are not compared with each other."""
        nearest = sorted(pair for pair in self._pairs if pair.same_cell)[:_PAIRS]
        slope, correlation = regression([(pair.work, pair.energy) for pair in nearest])
        enough = len(nearest) >= _FEWEST and not mixed
        sure = enough and len(nearest) >= 10 and abs(correlation) > 0.7
        among = f"among {len(nearest)} pairs of similar frames"
        sizes = sorted(stiffness for _, stiffness in sorted(self._stiffness)[:_PAIRS])
        stiffness = sizes[len(sizes) // 2] if len(sizes) >= _FEWEST else None
        mismatch = enough and abs(correlation) > 0.5 and not 1 / _FACTOR < abs(slope) < _FACTOR
        unlike = sure and correlation > _STRAIGHT and not 1 / _SLOPE < slope < _SLOPE
        impossible = max(self._ratios / max(self._compared, 1), self._lowest_atom)
        if mismatch:
            wrong = self._wrong(abs(slope / correlation), stiffness, correlation**2)
            changes = f"{among} the energy changes by {abs(slope):.2g} times what the forces give"
            self._say(findings, sure, f"the {wrong}: {changes}")
        elif impossible > _IMPOSSIBLE:
            self._say(findings, True, _too_low(impossible))
        elif not self._by_size(findings, stiffness) and unlike:
            what = f"the forces are not the slope of the energy: {among} it changes by {slope:.3g} times what they give"
            hint = "are both of one method? in Ha and Ha/bohr, or in Ry and Ry/bohr, it is 1.89 times"
            findings.add(WARNING, "units", what, hint, self._file).places = self._first
        if enough and correlation < -0.7 and 1 / _FACTOR < abs(slope) < _FACTOR:
            what = f"the forces have the wrong sign: {among} the energy rises along them"
            findings.add(ERROR, "forces-sign", what, "forces are minus the gradient", self._file).places = self._first
        if not (mixed or mismatch or impossible > _IMPOSSIBLE):  # where it is not the energies that do not fit
            self._strained.report(findings, self._file)

    @property
    def _file(self) -> str:
        return self._first[0].file if self._first else ""

    def _wrong(self, ratio: float, stiffness: float | None, scatter: float) -> str:
        """Which of the two is in another unit, and in which, if energies change by `ratio` of what the forces give."""
        usual = 0.5 + 0.5 * scatter  # what anharmonic motion makes of 1
        mean = self._ratios / max(self._compared, 1)
        if abs(mean - 1) < _LIKE_ALL_ELECTRONS and ratio < 1:
            return "energies look like Hartree beside forces in eV/Å"

        def off(unit: float, of_forces: bool) -> float:
            far = abs(math.log(ratio / usual * (unit if of_forces else 1 / unit)))
            if stiffness is None:
                return far
            size = stiffness / unit if of_forces else stiffness
            return far + 2 * max(0.0, math.log(max(self._softest, 1e-6) / size), math.log(size / _STIFF))

        energies = min(_ENERGIES, key=lambda name: off(_ENERGIES[name], False))
        forces = min(_FORCES, key=lambda name: off(_FORCES[name], True))
        if off(_ENERGIES[energies], False) <= off(_FORCES[forces], True):
            return f"energies look like {energies} beside forces in eV/Å"
        return f"forces look like {forces} beside energies in eV"

    def _by_size(self, findings: Findings, stiffness: float | None) -> bool:
        """Say what the sizes tell where energies and forces fit each other; returns whether they tell anything."""
        mean = self._ratios / max(self._compared, 1)
        all_electron = abs(mean - 1) < _LIKE_ALL_ELECTRONS
        soft = stiffness is not None and stiffness < self._softest
        usual = "bonds of H have 3" if self._softest == _SOFT_BOUND else "bonds have 1"
        forces = f"they change by {stiffness:.2g} per Å, where {usual} eV/Å or more" if soft else ""
        if all_electron or self._hydrogen:
            atom = "the isolated H atom has about 0.5"
            energies = f"{mean:.3f} times those of all electrons" if all_electron else atom
            also = f", and the forces like Ha/bohr ({forces})" if soft else ""
            self._say(findings, soft and all_electron, f"the energies look like Hartree ({energies}){also}")
        elif soft and abs(mean - 2) < 2 * _LIKE_ALL_ELECTRONS:
            energies = f"{mean:.3f} times those of all electrons in Hartree"
            self._say(findings, True, f"energies and forces look like Ry and Ry/bohr ({energies}; {forces})")
        elif soft:
            self._say(findings, False, f"the forces look like Ha/bohr or Ry/bohr: {forces}")
        elif stiffness is not None and stiffness > _STIFF:
            what = f"energies and forces look like kcal/mol or kJ/mol: forces change by {stiffness:.3g} per Å"
            self._say(findings, False, f"{what}, where bonds have 1 to {_STIFF:g} eV/Å")
        else:
            return False
        return True

    def _say(self, findings: Findings, sure: bool, what: str) -> None:
        findings.add(ERROR if sure else WARNING, "units", what, _HINT, self._file).places = self._first


def all_electrons(symbol: str) -> float:
    """Minus the energy of an atom with all its electrons, in Hartree."""
    z = SYMBOLS.index(symbol) + 1
    return 0.5 if z == 1 else 0.768745 * z ** (7 / 3) - 0.5 * z**2 + 0.269900 * z ** (5 / 3)


def _too_low(ratio: float) -> str:
    """What to say of energies that are so many times those of all electrons in Hartree."""
    times = f"{ratio / _HARTREE:.3g} times those of all electrons, which nothing is below"
    units = {"kcal/mol": 627.5095, "kJ/mol": 2625.4996, "meV": 27211.386}
    alike = [name for name, unit in units.items() if abs(ratio / unit - 1) < 2 * _LIKE_ALL_ELECTRONS]
    return f"the energies look like {alike[0] if alike else 'kcal/mol, kJ/mol or meV'}: in eV they are {times}"


def _softest(elements: set[str]) -> float:
    """What `_SOFT` says for frames of these elements; nothing where there are no bonds."""
    if elements <= _NOBLE:
        return 0.0
    return _SOFT_BOUND if "H" in elements and elements & {"C", "N", "O"} else _SOFT
