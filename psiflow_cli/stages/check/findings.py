"""What was found, with how many frames it concerns and where the first of them are."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from operator import itemgetter
from typing import NamedTuple, TypedDict

from psiflow_cli.extxyz import Frame

ERROR, WARNING = "error", "warning"
PLACES = 3  # so many places of each finding are kept
OUTLIER_HINT = "look at these frames before you train on them"


class Where(NamedTuple):
    file: str
    line: int
    frame: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: frame {self.frame}"


class PlaceFacts(TypedDict):
    """A `Where` as `check --json` has it."""

    file: str
    line: int
    frame: int


class FindingFacts(TypedDict):
    """A `Finding` as `check --json` has it."""

    severity: str
    check: str
    what: str
    hint: str
    count: int
    places: list[PlaceFacts]


def where(frame: Frame) -> Where:
    return Where(frame.place.source, frame.place.line, frame.place.index)


class Places:
    """Where every frame starts, in 8 bytes a frame."""

    def __init__(self) -> None:
        self._lines = array("Q")
        self._inputs: list[tuple[int, Where]] = []  # the first frame of each, with its place in the whole

    def note(self, place: Where) -> None:
        self._lines.append(place.line)
        if not self._inputs or self[len(self) - 1] != place:
            self._inputs.append((len(self) - 1, place))

    def __getitem__(self, index: int) -> Where:
        start, first = self._inputs[bisect_right(self._inputs, index, key=itemgetter(0)) - 1]
        return Where(first.file, self._lines[index], first.frame + index - start)

    def __len__(self) -> int:
        return len(self._lines)


@dataclass
class SomePlaces:
    """Where some of the frames are."""

    places: Places
    numbers: array[int] = field(default_factory=lambda: array("I"))

    def __getitem__(self, index: int) -> Where:
        return self.places[self.numbers[index]]


@dataclass(kw_only=True)
class Tally:
    """Frames that have something in common."""

    count: int = 0  # how many frames; of a finding, 0 where it is about the data as a whole
    places: list[Where] = field(default_factory=list)  # of the first

    def see(self, place: Where) -> None:
        self.count += 1
        if len(self.places) < PLACES:
            self.places.append(place)


@dataclass
class Finding(Tally):
    """One thing that is wrong, however many frames have it."""

    severity: str
    check: str  # a short name that stays the same
    what: str
    hint: str = ""

    def concerns(self, count: int, places: Iterable[Where]) -> None:
        """So many frames, of which these are the first."""
        self.count, self.places = count, list(islice(places, PLACES))

    def facts(self) -> FindingFacts:
        places: list[PlaceFacts] = [{"file": w.file, "line": w.line, "frame": w.frame} for w in self.places]
        return {
            "severity": self.severity, "check": self.check, "what": self.what, "hint": self.hint,
            "count": self.count, "places": places,
        }  # fmt: skip


class Findings:
    def __init__(self) -> None:
        self._by_key: dict[tuple[str, str, str], Finding] = {}

    def add(self, severity: str, check: str, problem: str, hint: str = "", key: str = "") -> Finding:
        """The finding of this severity, check and key, with the text of the first call."""
        return self._by_key.setdefault((severity, check, key), Finding(severity, check, problem, hint))

    def take(self, others: Findings, about: str) -> None:
        """What was found of some of the frames, with their name, if they have one, before it."""
        for (severity, check, key), finding in others._by_key.items():
            finding.what = f"{about}: {finding.what}" if about else finding.what
            self._by_key.setdefault((severity, check, f"{about} {key}".strip()), finding)

    def listed(self) -> list[Finding]:
        """Errors, then warnings, each in the order in which they were found."""
        return sorted(self._by_key.values(), key=lambda finding: finding.severity != ERROR)
