"""Whether labels look as if they were in other units than eV and Å, told by the first frames of each file."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from psiflow_cli.extxyz import Frame
from psiflow_cli.stages.check.findings import ERROR, Findings, where
from psiflow_cli.stages.check.sample import Sample
from psiflow_cli.stages.check.units.units import Units

if TYPE_CHECKING:
    from psiflow_cli.messages import Labels

_FRAMES = 500  # of each file


class UnitChecks:
    """What `psiflow check` says of units and of the sign of the forces, for data that nobody may have checked."""

    def __init__(self) -> None:
        self._units: defaultdict[str, Units] = defaultdict(Units)
        self._seen: Counter[str] = Counter()

    def see(self, frame: Frame, labels: Labels, isolated: bool) -> None:
        """Note one frame; what `label --subtract-from` leaves is too small to tell its unit."""
        file = frame.place.source
        if self._seen[file] == _FRAMES or frame.info.get("subtracted"):
            return
        self._seen[file] += 1
        self._units[file].see(Sample(frame, where(frame), isolated, **labels))

    def notes(self, mixed: bool) -> list[str]:
        """A warning for each file that looks wrong; energies of several methods (`mixed`) are not compared."""
        notes = []
        for file, units in self._units.items():
            findings = Findings()
            units.report(findings, mixed)
            notes += [
                f"warning: {file}: {finding.what}; psiflow check {file} says more"
                for finding in findings.listed()
                if finding.severity == ERROR
            ]
        return notes
