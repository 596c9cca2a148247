"""Means of correlated series with their standard errors, by blocking."""

from __future__ import annotations

import heapq
import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

FEWEST_BLOCKS = 8  # of fewer blocks the scatter says nothing


class Estimate(NamedTuple):
    """A mean, its standard error or None, and what the error is at least (None: nothing is known of it)."""

    mean: float
    error: float | None
    at_least: float | None


def estimate(values: Sequence[float]) -> Estimate:
    """The mean of a correlated series and its standard error, None for a series too short to tell.

    Neighbours are averaged in pairs again and again, until the error of the mean, taken from the scatter of the blocks
    as if they were independent, grows no more (Flyvbjerg and Petersen, J. Chem. Phys. 91, 461 (1989)); the blocks are
    long enough where their length cubed exceeds 2 n (error / error without blocks)^4 (Lee, Conduit, Nemec, Lopez Rios
    and Drummond, Phys. Rev. E 83, 066706 (2011)).
    """
    count = len(values)
    mean = math.fsum(values) / count
    if count > 1 and max(values) == min(values):
        return Estimate(mean, 0.0, 0.0)
    blocks, length, plain, largest = array("d", values), 1, 0.0, None
    while len(blocks) >= FEWEST_BLOCKS:
        error = _error(blocks)
        plain, largest = plain or error, max(error, largest or 0.0)
        if length**3 > 2 * count * (error / plain) ** 4:
            return Estimate(mean, error, error)
        blocks = array("d", map(_middle, blocks[::2], blocks[1::2]))
        length *= 2
    return Estimate(mean, None, largest)


def _middle(a: float, b: float) -> float:
    return 0.5 * (a + b)


def _error(values: Sequence[float]) -> float:
    """The standard error of the mean of independent values."""
    count = len(values)
    mean = math.fsum(values) / count
    return math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (count - 1) / count)


@dataclass(frozen=True)
class Discard:
    """How much of each path belongs to its beginning, and counts in no average."""

    value: float = 0.2  # a share, or ps
    is_share: bool = True

    def until(self, last: float) -> float:
        """The time (fs) up to which nothing counts, on a path that ends at the time `last`."""
        return self.value * last if self.is_share else 1e3 * self.value


@dataclass(frozen=True)
class Means:
    """Of a path: each quantity, over the frames that count."""

    frames: int
    discarded: int  # frames that do not count
    estimates: dict[str, Estimate]  # by quantity; empty where no frame counts


class Series:
    """What a path says of each quantity, frame by frame; frames of one step (beads) count as their mean."""

    def __init__(self) -> None:
        self._times = array("d")
        self._values: dict[str, array[float]] = {}
        self._beads = 0

    def add(self, time: float, values: dict[str, float]) -> None:
        """One frame at a time (fs); every frame of a path has the same quantities."""
        if self._times and self._times[-1] == time:
            self._beads += 1
            for name, value in values.items():
                self._values[name][-1] += (value - self._values[name][-1]) / self._beads
            return
        self._beads = 1
        self._times.append(time)
        for name, value in values.items():
            self._values.setdefault(name, array("d")).append(value)

    def frames(self) -> Iterator[tuple[float, dict[str, float]]]:
        """What was added."""
        for index, time in enumerate(self._times):
            yield time, {name: values[index] for name, values in self._values.items()}

    def means(self, discard: Discard) -> Means:
        """Of what is not discarded."""
        until = discard.until(self._times[-1]) if self._times else 0.0
        first = sum(time <= until for time in self._times) if until > 0 else 0
        frames = len(self._times) - first
        estimates = {name: estimate(values[first:]) for name, values in self._values.items()} if frames else {}
        return Means(frames, first, estimates)


def merged(parts: Iterable[Series]) -> Series:
    """All of them, in the order of time."""
    whole = Series()
    for time, values in heapq.merge(*(part.frames() for part in parts), key=lambda frame: frame[0]):
        whole.add(time, values)
    return whole
