"""Labels and other keys that only some frames have, and labels that are spelled in several ways."""

from __future__ import annotations

from psiflow_cli import voigt
from psiflow_cli.extxyz import CANDIDATES, LABELS, PROVENANCE, unused_stress, unused_stress_note
from psiflow_cli.extxyz.labelling import near_names
from psiflow_cli.extxyz.labelling.reading import VIRIAL
from psiflow_cli.stages.check.findings import ERROR, WARNING, Finding, Findings, Tally
from psiflow_cli.stages.check.sample import Keys, Sample

_FREE = {"Lattice", "Properties", "pbc", "species", "pos", "Z", "config_type", "name", "comment", *PROVENANCE}
"""What frames may have or not."""
_MOST = 1000
"""So many different sets of keys are told apart; a file with more has keys that are really values."""


class Names:
    """Counts frames by the set of their keys; isolated atoms apart, since they need nothing but an energy."""

    def __init__(self, keys: Keys) -> None:
        self._named = keys or {}
        """Labels whose key the user names: reading a frame without it has said so already."""
        self._sets: dict[tuple[frozenset[str], bool], Tally] = {}
        self._hints: dict[frozenset[str], str] = {}  # what to do about a label that is not there
        self._atoms_without = Tally()
        self._atoms_hint = ""
        self._unused_stress = Tally()
        self._unread_stress = ""

    def see(self, sample: Sample) -> None:
        frame = sample.frame
        present = {pair.key for pair in frame.pairs} | {column.name for column in frame.layout.columns}
        if sample.isolated:
            if "energy" not in self._named and not present.intersection(CANDIDATES["energy"]):
                self._atoms_without.see(sample.where)
                self._atoms_hint = self._atoms_hint or near_names.hint(frame, self._named)
            return
        if unused_stress(frame, self._named):
            self._unused_stress.see(sample.where)
        keys = frozenset(present - _FREE)
        kind = keys, voigt.is_defined(frame.periodic)
        if kind not in self._sets and len(self._sets) < _MOST:
            self._sets[kind] = Tally()
            self._hints[keys] = near_names.hint(frame, self._named)
            self._unread_stress = self._unread_stress or near_names.unread_stress(frame, self._named)
        if kind in self._sets:
            self._sets[kind].see(sample.where)

    def report(self, findings: Findings) -> None:
        for label in LABELS:
            if label not in self._named and not (label == "stress" and VIRIAL in self._named):
                self._label(label, findings)
        if self._atoms_without.count:
            finding = findings.add(WARNING, "keys", "isolated atoms without an energy", self._atoms_hint, "atoms")
            _count(finding, [self._atoms_without])
        if self._unread_stress:
            findings.add(WARNING, "keys", self._unread_stress, key="stress name")
        if self._unused_stress.count:
            what = unused_stress_note(self._unused_stress.count)
            finding = findings.add(WARNING, "stress", what, "codes compute it for their own choice of volume", "unused")
            _count(finding, [self._unused_stress])
        self._uneven_keys(findings)

    def _label(self, label: str, findings: Findings) -> None:
        """Missing on some frames, or spelled in two ways."""
        names = CANDIDATES[label]
        concerned = [(keys, alike) for (keys, periodic), alike in self._sets.items() if periodic or label != "stress"]
        has = [alike for keys, alike in concerned if keys.intersection(names)]
        lacks = [alike for keys, alike in concerned if not keys.intersection(names)]
        hint = next((self._hints[keys] for keys, _ in concerned if not keys.intersection(names)), "")
        total = sum(alike.count for _, alike in concerned)
        if has and lacks:
            what = f"no {label}, which {sum(a.count for a in has)} of {total} frames have"
            severity = WARNING if label == "stress" else ERROR
            hint = "only their energy and forces are trained on" if label == "stress" else hint
            _count(findings.add(severity, "keys", what, hint, label), lacks)
        elif lacks and label != "stress":
            what = f"no frame has {'an energy' if label == 'energy' else 'forces'}"
            _count(findings.add(WARNING, "keys", what, hint, label), lacks)
        # both in one frame is an error that reading the frame has found
        counts = {name: [a for keys, a in concerned if keys.intersection(names) == {name}] for name in names}
        used = {name: alike for name, alike in counts.items() if alike}
        if len(used) > 1:
            rare = min(used, key=lambda name: sum(a.count for a in used[name]))
            what = f"the {label} is spelled {' and '.join(used)}; most programs read one of them"
            hint = f"give all frames the key {label}"
            _count(findings.add(WARNING, "spelling", what, hint, f"{label} names"), used[rare])

    def _uneven_keys(self, findings: Findings) -> None:
        """Keys besides the labels that some frames have and others lack."""
        labels = {*self._named.values(), *(name for label in LABELS for name in CANDIDATES[label])}
        total = sum(alike.count for alike in self._sets.values())
        names = sorted({key for keys, _ in self._sets for key in keys} - labels)
        counts = {key: sum(a.count for (keys, _), a in self._sets.items() if key in keys) for key in names}
        some = {key: count for key, count in counts.items() if count < total}
        if some:
            named = ", ".join(f"{key} ({count} of {total})" for key, count in list(some.items())[:8])
            what = f"on some frames only: {named}{', …' if len(some) > 8 else ''}"
            finding = findings.add(WARNING, "keys", what, "remove them, or add them to all frames", "others")
            _count(finding, [a for (keys, _), a in self._sets.items() if not keys.issuperset(some)])


def _count(finding: Finding, alike: list[Tally]) -> None:
    """Put frames that were counted by their keys into a finding."""
    finding.concerns(sum(each.count for each in alike), sorted(place for each in alike for place in each.places))
