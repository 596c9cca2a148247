"""Which of many frames are one structure, in 36 bytes a frame."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence

from psiflow_cli.extxyz import Frame
from psiflow_cli.extxyz.structure import TOLERANCE, place

_CELL = 16  # frames whose first numbers agree down to this bit are compared, with those just below
_GROUPS = 256  # sorted one at a time, which needs less memory


class Structures:
    """The frames that were added, numbered as they came, by what `extxyz.structure` says of each."""

    def __init__(self, frames: Iterable[Frame] = (), inputs: Sequence[str] = (), *, ordered: bool = False) -> None:
        """The inputs are part of the structure; with `ordered`, so is the order of the atoms."""
        self._inputs, self._ordered = inputs, ordered
        self._numbers = tuple(array("Q") for _ in range(4))
        for frame in frames:
            self.add(frame)

    def __len__(self) -> int:
        return len(self._numbers[0])

    def add(self, frame: Frame) -> None:
        where = place(frame, self._inputs, ordered=self._ordered)
        for numbers, number in zip(self._numbers, where, strict=True):
            numbers.append(number)

    def firsts(self) -> array[int]:
        """For each frame the number of the first of the same structure."""
        numbers = self._numbers[0]
        groups = [array("I") for _ in range(_GROUPS)]
        for index, number in enumerate(numbers):
            cell = number >> _CELL
            groups[cell % _GROUPS].append(index)
            if (number + TOLERANCE) >> _CELL != cell:
                groups[(cell + 1) % _GROUPS].append(index)
        first = array("I", range(len(self)))
        for group in groups:
            self._join(sorted(group, key=numbers.__getitem__), first)
        for index, other in enumerate(first):
            first[index] = first[other]
        return first

    def _join(self, order: Sequence[int], first: array[int]) -> None:
        """Join each frame with the nearest one before that is the same structure; `order` is by the first number."""
        numbers, *others = self._numbers
        for at, index in enumerate(order):
            for before in range(at - 1, -1, -1):
                other = order[before]
                if numbers[index] - numbers[other] > TOLERANCE:
                    break
                if all(abs(more[index] - more[other]) <= TOLERANCE for more in others):
                    one, two = sorted((_root(first, index), _root(first, other)))
                    first[two] = one
                    break


class Copies:
    """Among the first `size` frames, those that are the same structure as another frame, in 8 bytes a frame."""

    def __init__(self, firsts: array[int], size: int) -> None:
        """`firsts` is what `Structures.firsts` says of all frames."""
        self._firsts, self._size = firsts, size
        self._next = array("I", [0]) * size  # the next frame of the same structure, or 0
        last = array("I", range(size))
        for index, first in enumerate(firsts[:size]):
            if first != index:
                self._next[last[first]] = last[first] = index

    def of(self, number: int) -> Iterator[int]:
        """The numbers of the frames that are the same structure as this one, itself included, in order."""
        index = self._firsts[number]
        while index < self._size:
            yield index
            index = self._next[index] or self._size

    def groups(self) -> Iterator[list[int]]:
        """The numbers of the frames of each structure that several frames have."""
        for index, other in enumerate(self._next):
            if other and self._firsts[index] == index:
                yield list(self.of(index))


def _root(first: array[int], index: int) -> int:
    while first[index] != index:
        first[index] = index = first[first[index]]
    return index
