"""Sets and tables of frame ids that hold a million in a few bytes each.

All frames are known after the first pass, so their distinct ids are sorted once; a set is then a byte, an offset eight
bytes, at each id's place. Ids are digests, evenly spread, so that the first bits of one tell where to look for it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, MutableMapping, MutableSet

_BUCKETS = 256
_SHIFT = 56


class FrameIds:
    """The distinct ids of a run's frames, each with its place."""

    def __init__(self, ids: Iterable[int]) -> None:
        buckets = [array("Q") for _ in range(_BUCKETS)]
        for key in ids:
            buckets[key >> _SHIFT].append(key)
        self.ids = array("Q")
        self._starts = array("Q", [0])
        for number, bucket in enumerate(buckets):
            self.ids.extend(sorted(set(bucket)))
            self._starts.append(len(self.ids))
            buckets[number] = array("Q")

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[int]:
        return iter(self.ids)

    def place(self, key: object) -> int:
        """Where an id stands, or -1."""
        if not isinstance(key, int):
            return -1
        first = key >> _SHIFT
        at = bisect_left(self.ids, key, self._starts[first], self._starts[first + 1])
        return at if at < len(self.ids) and self.ids[at] == key else -1


class _IdArray:
    """A number for some of the ids of a universe, -1 for all others; ids that are not in it are passed over."""

    def __init__(self, universe: FrameIds, code: str) -> None:
        """`code` is the type of the numbers, as in `array`."""
        self._universe = universe
        self._values = array(code, [-1]) * len(universe)
        self._count = 0

    def __contains__(self, key: object) -> bool:
        at = self._universe.place(key)
        return at >= 0 and bool(self._values[at] >= 0)

    def __iter__(self) -> Iterator[int]:
        return (key for key, value in zip(self._universe, self._values, strict=True) if value >= 0)

    def __len__(self) -> int:
        return self._count

    def _put(self, key: int, value: int) -> None:
        at = self._universe.place(key)
        if at >= 0:
            self._count += (value >= 0) - (self._values[at] >= 0)
            self._values[at] = value


class IdSet(_IdArray, MutableSet[int]):
    """Some of the ids of a universe; others cannot be added."""

    def __init__(self, universe: FrameIds, ids: Iterable[int] = ()) -> None:
        super().__init__(universe, "b")
        for key in ids:
            self.add(key)

    def copy(self) -> IdSet:
        copied = IdSet(self._universe)
        copied._values, copied._count = self._values[:], self._count
        return copied

    def add(self, value: int) -> None:
        self._put(value, 0)

    def discard(self, value: int) -> None:
        self._put(value, -1)


class IdTable(_IdArray, MutableMapping[int, int]):
    """A number (not negative) for some of the ids of a universe; others are passed over."""

    def __getitem__(self, key: int) -> int:
        at = self._universe.place(key)
        if at < 0 or self._values[at] < 0:
            raise KeyError(key)
        return int(self._values[at])

    def __setitem__(self, key: int, value: int) -> None:
        self._put(key, value)

    def __delitem__(self, key: int) -> None:
        if key not in self:
            raise KeyError(key)
        self._put(key, -1)
