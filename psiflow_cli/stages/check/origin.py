"""Who labelled the frames, what kinds of frames there are, and which elements have no isolated atom."""

from __future__ import annotations

import math
from collections import Counter, defaultdict

from psiflow_cli.stages.check.findings import ERROR, WARNING, Findings, Tally, Where
from psiflow_cli.stages.check.sample import Keys, Sample
from psiflow_cli.stages.train.data_checks import Levels
from psiflow_cli.stages.train.e0s import SAME_ENERGY_EV, is_ion

_MOST_TYPES = 1000
_METHODS = {"method", "functional", "xc", "level_of_theory", "theory", "calculator", "calc", "basis", "basis_set"}
_MOST_METHODS = 8  # a key with more values names something else


class Origin:
    """References, `config_type`s and isolated atoms."""

    def __init__(self, keys: Keys) -> None:
        self.config_types: Counter[str] = Counter()
        self.elements: set[str] = set()
        self.atoms: dict[str, float] = {}  # energies (eV) of isolated atoms
        self._levels = Levels(keys)
        self._by_level: defaultdict[str, Tally] = defaultdict(Tally)
        self._methods: defaultdict[str, defaultdict[str, Tally]] = defaultdict(lambda: defaultdict(Tally))
        """Frames by the values of keys that may name a method."""
        self._ions: dict[tuple[str, float], Where] = {}  # where each element and energy (eV) was seen first
        self._crystals: set[str] = set()  # elements of one-atom frames that are periodic
        self._contradictions = Tally()
        self._contradiction = ""

    def see(self, sample: Sample) -> None:
        kind = str(sample.frame.info.get("config_type", ""))
        if kind in self.config_types or len(self.config_types) < _MOST_TYPES:
            self.config_types[kind] += 1
        self.elements.update(sample.frame.symbols)
        if sample.isolated:
            self._atom(sample)
            return
        if sample.natoms == 1:
            self._crystals.update(sample.frame.symbols)
        self._levels.see(sample.frame)
        info = sample.frame.info
        self._by_level[f"{info.get('psiflow_reference', '')} {info.get('head', '')}"].see(sample.where)
        for key in _METHODS & info.keys():
            values = self._methods[key]
            if len(values) < _MOST_TYPES:
                values[str(info[key])].see(sample.where)

    def _atom(self, sample: Sample) -> None:
        element = sample.frame.symbols[0]
        if sample.energy is None:
            self.atoms.setdefault(element, math.nan)
        elif is_ion(sample.frame):
            self._ions.setdefault((element, sample.energy), sample.where)
        else:
            self._note(element, sample.energy, sample.where)

    def _note(self, element: str, energy: float, place: Where) -> None:
        earlier = self.atoms.get(element, math.nan)
        if math.isnan(earlier):
            self.atoms[element] = energy
        elif abs(earlier - energy) > SAME_ENERGY_EV:
            self._contradiction = f"an isolated {element} atom at {energy} eV, but an earlier one at {earlier} eV"
            self._contradictions.see(place)

    def _take_ions(self) -> None:
        """Take ions for the atoms of elements that have no neutral one."""
        neutral = {element for element, energy in self.atoms.items() if not math.isnan(energy)}
        for (element, energy), place in self._ions.items():
            if element not in neutral:
                self._note(element, energy, place)

    def report(self, findings: Findings) -> None:
        self._take_ions()
        for what in self._levels.check(mixed=True):
            rare = min(self._by_level.values(), key=lambda tally: tally.count)
            hint = "train on one of them; psiflow label --from takes over what it labelled"
            what = what.partition(": frame ")[2].partition(": ")[2]
            findings.add(ERROR, "mixed-references", what, hint, what).concerns(rare.count, rare.places)
        for key, values in sorted(self._methods.items()):
            if 1 < len(values) <= _MOST_METHODS:
                rare = min(values.values(), key=lambda tally: tally.count)
                what = f"frames of several methods? {key} is {' and '.join(sorted(values))}"
                hint = "train on frames of one method"
                findings.add(WARNING, "mixed-references", what, hint, key).concerns(rare.count, rare.places)
        if self._contradictions.count:
            finding = findings.add(ERROR, "isolated-atoms", self._contradiction, "keep one per element")
            finding.concerns(self._contradictions.count, self._contradictions.places)
        missing = sorted(self.elements - self.atoms.keys())
        if missing:
            hint = "psiflow atomic-energies computes them; --e0s gives them to train"
            if self._crystals.intersection(missing):
                hint = f"periodic one-atom frames are crystals unless config_type=IsolatedAtom; {hint}"
            findings.add(WARNING, "isolated-atoms", f"no isolated atom of {', '.join(missing)}", hint, "missing")
