"""Who labelled the frames, what kinds of frames there are, and which elements have no isolated atom."""

from __future__ import annotations

import math
from collections import Counter, defaultdict

from psiflow_cli.stages.check.findings import ERROR, WARNING, Findings, Tally, Where
from psiflow_cli.stages.check.sample import Keys, Sample
from psiflow_cli.stages.train.data_checks import Levels, head_of
from psiflow_cli.stages.train.e0s import SAME_ENERGY_EV, is_ion

_MOST_TYPES = 1000
_METHODS = {"method", "functional", "xc", "level_of_theory", "theory", "calculator", "calc", "basis", "basis_set"}
_MOST_METHODS = 8  # a key with more values names something else


class Origin:
    """References, `config_type`s and isolated atoms."""

    def __init__(self, keys: Keys) -> None:
        self.config_types: Counter[str] = Counter()
        self.subtracted: Counter[str] = Counter()
        """Frames by the reference that `label --subtract-from` has subtracted from their labels."""
        self.elements: set[str] = set()
        self._atoms: defaultdict[str, dict[str, float]] = defaultdict(dict)  # energies (eV) of isolated atoms, by head
        self._levels = Levels(keys)
        self._heads: Counter[str] = Counter()
        self._by_level: defaultdict[str, Tally] = defaultdict(Tally)
        self._methods: defaultdict[str, defaultdict[str, Tally]] = defaultdict(lambda: defaultdict(Tally))
        """Frames by the values of keys that may name a method."""
        self._ions: dict[tuple[str, str, float], Where] = {}
        """Where each head, element and energy (eV) was seen first."""
        self._crystals: set[str] = set()  # elements of one-atom frames that are periodic
        self._contradictions = Tally()
        self._contradiction = ""

    def see(self, sample: Sample) -> None:
        kind = str(sample.frame.info.get("config_type", ""))
        if kind in self.config_types or len(self.config_types) < _MOST_TYPES:
            self.config_types[kind] += 1
        if reference := sample.frame.info.get("subtracted"):
            self.subtracted[str(reference)] += 1
        self.elements.update(sample.frame.symbols)
        self._levels.see_any(sample.frame)
        if sample.isolated:
            self._atom(sample)
            return
        if sample.natoms == 1:
            self._crystals.update(sample.frame.symbols)
        self._levels.see(sample.frame)
        self._heads[head_of(sample.frame)] += 1
        info = sample.frame.info
        self._by_level[f"{info.get('psiflow_reference', '')} {info.get('head', '')}"].see(sample.where)
        for key in _METHODS & info.keys():
            values = self._methods[key]
            if len(values) < _MOST_TYPES:
                values[str(info[key])].see(sample.where)

    def _atom(self, sample: Sample) -> None:
        head, element = head_of(sample.frame), sample.frame.symbols[0]
        if sample.energy is None:
            self._atoms[head].setdefault(element, math.nan)
        elif is_ion(sample.frame):
            self._ions.setdefault((head, element, sample.energy), sample.where)
        else:
            self._note(head, element, sample.energy, sample.where)

    @property
    def heads(self) -> list[str]:
        """The methods that frames say they are of, where there are several."""
        return sorted(self._levels.heads) if len(self._levels.heads) > 1 else []

    def atoms(self, head: str) -> dict[str, float]:
        """Energies (eV) of the isolated atoms that go with the frames of a head."""
        if self.heads and head:
            return self._atoms[head]
        return {element: energy for atoms in self._atoms.values() for element, energy in atoms.items()}

    def _note(self, head: str, element: str, energy: float, place: Where) -> None:
        earlier = self._atoms[head].get(element, math.nan)
        if math.isnan(earlier):
            self._atoms[head][element] = energy
        elif abs(earlier - energy) > SAME_ENERGY_EV:
            self._contradiction = f"an isolated {element} atom at {energy} eV, but an earlier one at {earlier} eV"
            self._contradictions.see(place)

    def _take_ions(self) -> None:
        """Take ions for the atoms of elements that have no neutral one."""
        neutral = {(head, e) for head, atoms in self._atoms.items() for e, energy in atoms.items() if energy == energy}
        for (head, element, energy), place in self._ions.items():
            if (head, element) not in neutral:
                self._note(head, element, energy, place)

    def report(self, findings: Findings) -> None:
        self._take_ions()
        on_purpose = bool(self.heads) and not self._levels.headless
        if on_purpose:
            counts = Counter({head: self._heads[head] for head in self.heads})
            what = f"frames of {len(counts)} heads: {', '.join(f'{head} {count}' for head, count in counts.items())}"
            hint = "MACE trains a head for each method; for the other families, keep the frames of one"
            findings.add(WARNING, "heads", what, hint)
        for what in self._levels.check(mixed=True, apart=on_purpose):
            rare = min(self._by_level.values(), key=lambda tally: tally.count)
            hint = "train on one of them; reuse its labels with psiflow label --from"
            what = what.partition(": frame ")[2].partition(": ")[2] or what
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
        for head in self.heads if on_purpose else [""]:
            self._missing(findings, head)

    def _missing(self, findings: Findings, head: str) -> None:
        missing = sorted(self.elements - self.atoms(head).keys())
        if missing:
            what = f"no isolated atom of {', '.join(missing)}{f' of head={head}' if head else ''}"
            hint = "compute them with psiflow atomic-energies, or give them to train with --e0s"
            if self._crystals.intersection(missing):
                hint = f"periodic one-atom frames are crystals unless config_type=IsolatedAtom; {hint}"
            findings.add(WARNING, "isolated-atoms", what, hint, f"missing {head}")
