"""The finished units of a run, counted from its journal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli.errors import counted
from psiflow_cli.runtime import journal

if TYPE_CHECKING:
    from psiflow_cli.messages import Epoch, Record


def belongs_to(unit_of: str, keys: list[str]) -> bool:
    """Whether a unit belongs to one of these settings: a sampling's keys also say how its walkers were moved."""
    return any(unit_of == key or unit_of.startswith(f"{key}-") for key in keys)


class FinishedUnits:
    """What the journal says so far; reading on is cheap."""

    def __init__(self) -> None:
        self._by_settings: dict[str, tuple[dict[str, int], set[str]]] = {}
        """How far each unit is, and which have failed."""
        self._read = 0
        self._begun = 0.0
        self._now = 0  # finished by the present invocation
        self._first: float | None = None  # when the present invocation finished something first
        self._first_s = 0.0  # how long that took: before, there was the wait for a worker
        self._in_jobs = False  # whether the units of this invocation run in jobs of a batch system
        self._last = ""
        self.updated: float | None = None
        self.core_seconds = 0.0
        self.core_seconds_in_jobs = 0.0  # of these, what ran in jobs of a batch system
        self.lost = 0  # how often a unit was lost with its worker in the present invocation
        self.info: Epoch = {}
        self.kernels = ""

    def read(self, path: Path) -> None:
        """Count what was added since the last time."""
        for offset, line in journal.lines(path, self._read):
            self._add(journal.head(line))
            self._read = offset + len(line)

    def settle(self, keys: list[str]) -> None:
        """Count the units of these settings, not those that were computed last."""
        self._last = next((of for of in reversed(self._by_settings) if belongs_to(of, keys)), self._last)

    def _add(self, record: Record) -> None:
        if record["kind"] == "begin":
            self._now = self.lost = 0
            self._begun, self._first, self._first_s = record["t"], None, 0.0
            self._in_jobs = record.get("provider", "local") not in ("", "local")
        if record["kind"] == "kernels":
            self.kernels = (
                f"{record['path']}, {record['ms'][record['path']]:.3g} ms for {counted(record['atoms'], 'atom')}"
            )
        if record["kind"] == "lost":
            self.lost += len(record["ids"])
        if record["kind"] != "unit":
            return
        self._last = record["of"]
        at, failed = self._by_settings.setdefault(self._last, ({}, set()))
        self._now += record.get("at", 1) - at.get(record["id"], 0)
        at[record["id"]] = record.get("at", 1)
        (failed.discard if record["ok"] else failed.add)(record["id"])
        self.updated = record["t"]
        if self._first is None or self._first == record["t"]:
            self._first = record["t"]
            self._first_s += record["s"]
        self.core_seconds += record["s"] * record["cores"]
        self.core_seconds_in_jobs += record["s"] * record["cores"] if self._in_jobs else 0.0
        self.info = record.get("info", {})

    @property
    def counted(self) -> bool:
        return bool(self._last)

    @property
    def done(self) -> int:
        """Finished units, failed ones too; of a unit with steps (epochs, MD steps), the steps."""
        return sum(self._by_settings[self._last][0].values()) if self._last else 0

    @property
    def failed(self) -> int:
        """Units that failed, and did not succeed later."""
        return len(self._by_settings[self._last][1]) if self._last else 0

    @property
    def succeeded(self) -> set[str]:
        """The units that did not fail under any settings."""
        failed = {unit for _, units in self._by_settings.values() for unit in units}
        return {unit for at, _ in self._by_settings.values() for unit in at} - failed

    def rate(self) -> float | None:
        """Units per second of the present invocation, without the wait for the first worker."""
        if self.updated is None or self._first is None or self.updated <= self._begun:
            return None
        seconds = self.updated - max(self._first - self._first_s, self._begun)
        return round(self._now / seconds, 6) or None if seconds > 0 else None
