"""Energies, forces and stresses that are not in eV and Å, told by their size and by how they belong together.

Five things tell. Between similar frames the energy changes by minus the mean force times the displacement, and where
the cell changes by the stress times volume and strain; the sides need not agree well, but Hartree beside eV is a factor
of 27. Forces change with the displacement by 1 eV/Å² or more wherever there are bonds, and by more where hydrogen is
bound; a few frames are enough where hydrogen is bound, whose bonds are all about as stiff. Energies of all electrons,
or of the valence electrons alone, are known within a few per cent; and no method has energies far below the former.
"""

from __future__ import annotations

import math

from psiflow_cli.stages.check.findings import ERROR, WARNING, Findings, Where
from psiflow_cli.stages.check.sample import Sample
from psiflow_cli.stages.check.stresses import Strained
from psiflow_cli.stages.check.units.pairs import Neighbours, Pair, regression
from psiflow_cli.stages.check.units.sizes import all_electrons, valence
from psiflow_cli.stages.check.units.stretch import Stretching

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
_LIKE_VALENCE = (0.97, 1.05)  # chemical bonds add up to 4 %
_ALIKE = 1.2  # kJ/mol/nm and meV/Å differ by less
_BONDS_OF_HYDROGEN = (0.25, 5.0)  # times the stiffness that they should have
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
        self._valence: list[float] = []  # energies over those of the valence electrons, where these are known
        self._stretching = Stretching()
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
        self._stretching.see(sample)
        electrons = valence(sample.frame.symbols)
        self._valence += [-sample.energy / electrons] if electrons else []
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
        stiff = self._stretching.ratio()
        odd = stiff is not None and not _BONDS_OF_HYDROGEN[0] < stiff < _BONDS_OF_HYDROGEN[1]
        impossible = max(self._ratios / max(self._compared, 1), self._lowest_atom)
        if mismatch:
            ratio = abs(slope / correlation)
            if stiff is not None and not odd:  # it is not the forces
                wrong = f"energies look like {_nearest(_ENERGIES, ratio)} beside forces in eV/Å"
            else:
                wrong = self._wrong(ratio, stiffness, correlation**2)
            changes = f"{among} the energy changes by {abs(slope):.2g} times the value expected from the forces"
            self._add(findings, sure, f"the {wrong}: {changes}")
        elif impossible > _IMPOSSIBLE:
            self._add(findings, True, _too_low(impossible))
        elif stiff is not None and odd:
            unit = _nearest(_FORCES, stiff)
            atoms = f"bonds to hydrogen are {stiff:.2g} times as stiff as they should be"
            self._add(findings, True, f"the forces look like {unit}{self._like(not enough)} ({atoms})")
        elif not self._by_size(findings, stiffness, enough) and unlike:
            what = (
                f"the forces are not the gradient of the energy: {among} it changes by {slope:.3g} times the value "
                "expected from them"
            )
            hint = "do both come from one method? with Ha and Ha/bohr, or Ry and Ry/bohr, the factor is 1.89"
            findings.add(WARNING, "units", what, hint, self._file).places = self._first
        if enough and correlation < -0.7 and 1 / _FACTOR < abs(slope) < _FACTOR:
            what = f"the forces have the wrong sign: {among} the energy rises along them"
            findings.add(
                ERROR, "forces-sign", what, "forces are minus the gradient of the energy", self._file
            ).places = self._first
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

    def _like(self, alone: bool) -> str:
        """What to add on energies to what is said of forces; `alone`: nothing shows that the two fit each other."""
        unit = self._valence_unit()
        if unit or not alone:
            return f", and the energies like {unit}" if unit else ", and the energies fit them"
        return ""

    def _valence_unit(self) -> str:
        """The unit in which the energies are those of the valence electrons."""
        mean = math.fsum(self._valence) / max(len(self._valence), 1)
        low, high = _LIKE_VALENCE
        return next((name for name, size in (("Hartree", 1), ("Rydberg", 2)) if low < mean / size < high), "")

    def _by_size(self, findings: Findings, stiffness: float | None, fit: bool) -> bool:
        """Say what the sizes tell where energies and forces do not contradict each other, or `fit` each other.

        Returns whether the sizes tell anything.
        """
        mean = self._ratios / max(self._compared, 1)
        all_electron = abs(mean - 1) < _LIKE_ALL_ELECTRONS
        soft = stiffness is not None and stiffness < self._softest
        usual = "bonds of H have 3" if self._softest == _SOFT_BOUND else "bonds have 1"
        forces = f"they change by {stiffness:.2g} per Å, where {usual} eV/Å or more" if soft else ""
        if all_electron or self._hydrogen:
            atom = "the isolated H atom has about 0.5"
            energies = f"{mean:.3f} times those of all electrons" if all_electron else atom
            also = f", and the forces like Ha/bohr ({forces})" if soft else ""
            self._add(findings, soft and all_electron, f"the energies look like Hartree ({energies}){also}")
        elif soft and abs(mean - 2) < 2 * _LIKE_ALL_ELECTRONS:
            energies = f"{mean:.3f} times those of all electrons in Hartree"
            self._add(findings, True, f"energies and forces look like Ry and Ry/bohr ({energies}; {forces})")
        elif soft:
            self._add(findings, False, f"the forces look like Ha/bohr or Ry/bohr: {forces}")
        elif stiffness is not None and stiffness > _STIFF:
            what = f"energies and forces look like kcal/mol or kJ/mol: forces change by {stiffness:.3g} per Å"
            self._add(findings, False, f"{what}, where bonds have 1 to {_STIFF:g} eV/Å")
        elif not fit and self._valence_unit():
            alike = "those of the valence electrons"
            what = f"energies look like {self._valence_unit()} with pseudopotentials: about {alike}"
            self._add(findings, False, what)
        else:
            return False
        return True

    def _add(self, findings: Findings, sure: bool, what: str) -> None:
        findings.add(ERROR if sure else WARNING, "units", what, _HINT, self._file).places = self._first


def _nearest(units: dict[str, float], size: float) -> str:
    """The unit that a number is nearest to, as a factor; two if they are too similar to be told apart."""
    nearest = min(units.values(), key=lambda unit: abs(math.log(size / unit)))
    return " or ".join(name for name, unit in units.items() if 1 / _ALIKE < unit / nearest < _ALIKE)


def _too_low(ratio: float) -> str:
    """What to say of energies that are so many times those of all electrons in Hartree."""
    times = f"{ratio / _HARTREE:.3g} times those of all electrons, which is a lower bound"
    units = {"kcal/mol": 627.5095, "kJ/mol": 2625.4996, "meV": 27211.386}
    alike = [name for name, unit in units.items() if abs(ratio / unit - 1) < 2 * _LIKE_ALL_ELECTRONS]
    return f"the energies look like {alike[0] if alike else 'kcal/mol, kJ/mol or meV'}: in eV they are {times}"


def _softest(elements: set[str]) -> float:
    """What `_SOFT` says for frames of these elements; nothing where there are no bonds."""
    if elements <= _NOBLE:
        return 0.0
    return _SOFT_BOUND if "H" in elements and elements & {"C", "N", "O"} else _SOFT
