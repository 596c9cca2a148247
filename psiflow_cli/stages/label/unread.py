"""What frames say and the reference does not read: it is not in the labels, and the user has to know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from psiflow_cli import extxyz
from psiflow_cli.errors import BadData
from psiflow_cli.extxyz.frame import is_marked
from psiflow_cli.extxyz.identity import MOMENTS, given_inputs, given_moments

_PLAIN = {"charge": 0, "multiplicity": 1}


class Unread:
    """Counts frames with a charge, a multiplicity or moments that the reference takes no notice of."""

    def __init__(self, inputs: tuple[str, ...], see: Callable[[extxyz.Frame], None]) -> None:
        """`see` sees each of them, too."""
        self._see = see
        self._inputs = [name for name in (*_PLAIN, "moments") if name not in inputs]
        self._frames: Counter[str] = Counter()

    def see(self, frame: extxyz.Frame) -> None:
        self._see(frame)
        if not is_marked(frame.natoms, frame.pairs):  # as psiflow's own candidates for the lowest state are
            self._frames.update(name for name in self._inputs if _says(frame, name))

    def notes(self, reference: str) -> Iterator[str]:
        for name, count in self._frames.items():
            written = MOMENTS if name == "moments" else name
            labels = "so their labels are computed without it"
            yield f"frames with {written}: {count}; the reference {reference} does not read it, {labels}"


def _says(frame: extxyz.Frame, name: str) -> bool:
    """Whether a frame has another value of an input than that of a frame without it, or one that is none."""
    try:
        return bool(given_moments(frame, [name])) or given_inputs(frame, [name]).get(name) not in (
            None,
            _PLAIN.get(name),
        )
    except BadData:
        return True
