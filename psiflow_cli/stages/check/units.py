"""Energies that look like Hartree and forces that look like Hartree/bohr, told by their size.

Three things tell. Between similar frames the energy changes by minus the mean force times the displacement; both sides
need not agree well, but Hartree beside eV is a factor of 27. Forces change with the displacement by 1 eV/Å² or more
wherever there are bonds, and by more where hydrogen is bound. And a calculation with all electrons has energies that
the atomic numbers give within a few per cent: the Thomas-Fermi-Dirac-Scott formula (Schwinger, Phys. Rev. A 24, 2353
(1981)).
"""

from __future__ import annotations

import math

from psiflow_cli.elements import SYMBOLS
from psiflow_cli.stages.check.findings import ERROR, WARNING, Findings, Where
from psiflow_cli.stages.check.pairs import Neighbours, Pair
from psiflow_cli.stages.check.sample import Sample

_FRAMES = 2000  # so many frames, the first, are compared with those before them
_PAIRS = 20
_FEWEST = 4
_FACTOR = 6.0  # between a factor that anharmonic motion explains (2 to 3) and 27
_SOFT, _SOFT_BOUND = 0.25, 1.5
"""eV/Å²: least change of the forces with the displacement, in solids and molecules, and with H on C, N or O.

The latter have 3 to 70 in eV/Å, most of them 4 to 10, and 0.06 to 1.4 in Ha/bohr.
"""
_NOBLE = {"He", "Ne", "Ar", "Kr", "Xe", "Rn"}
_LIKE_ALL_ELECTRONS = 0.03
_ATOM_OF_HYDROGEN = (-0.51, -0.38)
"""The isolated atom's energy in Hartree, by any method; in eV no method gives this."""
_HINT = "energies are in eV, forces in eV/Å: 1 Ha = 27.2114 eV, 1 Ha/bohr = 51.4221 eV/Å"


class Units:
    """Evidence for the units of one file, and what it says."""

    def __init__(self) -> None:
        self._neighbours = Neighbours()
        self._pairs: list[Pair] = []
        self._compared = 0
        self._ratios = 0.0  # sum of energies over those of all electrons
        self._first: list[Where] = []
        self._hydrogen = False
        self._softest = _SOFT_BOUND
        """The least that the forces of any of the frames should change with the displacement, in eV/Å²."""

    def see(self, sample: Sample) -> None:
        if sample.energy is None or self._compared == _FRAMES:
            return
        self._first = self._first or [sample.where]
        if sample.isolated:
            low, high = _ATOM_OF_HYDROGEN
            self._hydrogen |= sample.frame.symbols == ["H"] and low < sample.energy < high
            return
        self._compared += 1
        self._softest = min(self._softest, _softest({*sample.frame.symbols}))
        self._ratios -= sample.energy / sum(map(all_electrons, sample.frame.symbols))
        if sample.forces is not None and sample.natoms > 1:
            pair = self._neighbours.nearest(sample)
            self._pairs += [pair] if pair else []

    def report(self, findings: Findings) -> None:
        nearest = sorted(pair for pair in self._pairs if pair.same_cell)[:_PAIRS]
        slope, correlation = _slope(nearest)
        enough = len(nearest) >= _FEWEST
        sure = len(nearest) >= 10 and abs(correlation) > 0.7
        among = f"among {len(nearest)} pairs of similar frames"
        ratio = f"{among} the energy changes by {abs(slope):.2g} times what the forces give"
        mismatch = enough and abs(correlation) > 0.5 and not 1 / _FACTOR < abs(slope) < _FACTOR
        if mismatch and abs(slope) < 1:
            self._say(findings, sure, f"the energies look like Hartree beside forces in eV/Å: {ratio}")
        elif mismatch:
            self._say(findings, sure, f"the forces look like Ha/bohr beside energies in eV: {ratio}")
        else:
            sizes = sorted(pair.stiffness for pair in sorted(self._pairs)[:_PAIRS])
            self._by_size(findings, sizes[len(sizes) // 2] if len(sizes) >= _FEWEST else None)
        if enough and correlation < -0.7 and 1 / _FACTOR < abs(slope) < _FACTOR:
            what = f"the forces have the wrong sign: {among} the energy rises along them"
            findings.add(ERROR, "forces-sign", what, "forces are minus the gradient", self._file).places = self._first

    @property
    def _file(self) -> str:
        return self._first[0].file if self._first else ""

    def _by_size(self, findings: Findings, stiffness: float | None) -> None:
        """What the sizes say where energies and forces fit each other."""
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
        elif soft:
            self._say(findings, False, f"the forces look like Ha/bohr: {forces}")

    def _say(self, findings: Findings, sure: bool, what: str) -> None:
        findings.add(ERROR if sure else WARNING, "units", what, _HINT, self._file).places = self._first


def all_electrons(symbol: str) -> float:
    """Minus the energy of an atom with all its electrons, in Hartree."""
    z = SYMBOLS.index(symbol) + 1
    return 0.5 if z == 1 else 0.768745 * z ** (7 / 3) - 0.5 * z**2 + 0.269900 * z ** (5 / 3)


def _softest(elements: set[str]) -> float:
    """What `_SOFT` says for frames of these elements; nothing where there are no bonds."""
    if elements <= _NOBLE:
        return 0.0
    return _SOFT_BOUND if "H" in elements and elements & {"C", "N", "O"} else _SOFT


def _slope(pairs: list[Pair]) -> tuple[float, float]:
    """Of the energies' differences over the work, and the correlation of the two (about zero)."""
    work, energy = (math.fsum(pair[k] ** 2 for pair in pairs) for k in (2, 1))
    across = math.fsum(pair.work * pair.energy for pair in pairs)
    if not work or not energy:
        return 1.0, 0.0
    return across / work, across / math.sqrt(work * energy)
