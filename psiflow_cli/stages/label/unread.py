"""What frames say and the reference does not read: it is not in the labels, and the user has to know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from psiflow_cli import extxyz
from psiflow_cli.extxyz.frame import is_marked
from psiflow_cli.extxyz.identity import MOMENTS, given_inputs, given_moments

_PLAIN = {"charge": 0, "multiplicity": 1}


class Unread:
    """Counts frames with a charge, a multiplicity or moments that the reference takes no notice of."""

    def __init__(self, inputs: tuple[str, ...], see: Callable[[extxyz.Frame], None]) -> None:
        """`see` sees each of them, too."""
        self._see = see
        self._inputs = {*_PLAIN, "moments"} - set(inputs)
        self._frames: Counter[str] = Counter()

    def see(self, frame: extxyz.Frame) -> None:
        self._see(frame)
        if is_marked(frame.natoms, frame.pairs):
            return  # psiflow's own candidates for the lowest state
        values = given_inputs(frame, self._inputs)
        self._frames.update(name for name, value in values.items() if value != _PLAIN[name])
        if given_moments(frame, self._inputs):
            self._frames[MOMENTS] += 1

    def notes(self, reference: str) -> Iterator[str]:
        for name, count in sorted(self._frames.items()):
            labels = "so their labels are computed without it"
            yield f"frames with {name}: {count}; the reference {reference} does not read it, {labels}"
