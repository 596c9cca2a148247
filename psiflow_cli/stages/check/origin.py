"""Who labelled the frames, what kinds of frames there are, and which elements have no isolated atom."""

from __future__ import annotations

from collections import Counter, defaultdict

from psiflow_cli.stages.check.findings import ERROR, WARNING, Findings, Tally
from psiflow_cli.stages.check.sample import Keys, Sample
from psiflow_cli.stages.train.data_checks import Levels
from psiflow_cli.stages.train.e0s import SAME_ENERGY_EV

_MOST_TYPES = 1000
_METHODS = {
    "method",
    "functional",
    "xc",
    "level",
    "level_of_theory",
    "theory",
    "calculator",
    "calc",
    "basis",
    "basis_set",
}
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
            self.atoms.setdefault(element, float("nan"))
            return
        energy = self.atoms.setdefault(element, sample.energy)
        if abs(energy - sample.energy) > SAME_ENERGY_EV:
            self._contradiction = f"an isolated {element} atom at {sample.energy} eV, but an earlier one at {energy} eV"
            self._contradictions.see(sample.where)

    def report(self, findings: Findings) -> None:
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
            findings.add(WARNING, "isolated-atoms", f"no isolated atom of {', '.join(missing)}", hint, "missing")
