"""What the frames say that the reference cannot use: told before anything is submitted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from psiflow_cli import extxyz
from psiflow_cli.errors import BadData
from psiflow_cli.extxyz.frame import is_marked
from psiflow_cli.extxyz.identity import MOMENTS, given_inputs, given_moments
from psiflow_cli.protocols import HasOwnAtoms, Surveys
from psiflow_cli.stages.label.method import Method

if TYPE_CHECKING:
    from psiflow_cli.messages import Settings

_PLAIN = {"charge": 0, "multiplicity": 1}


class FirstPass:
    """Sees every frame: what it says that the reference does not read, and whether its atoms are those of the input."""

    def __init__(self, method: Method, see: Callable[[extxyz.Frame], None]) -> None:
        """`see` sees each of them, too."""
        self._method, self._see = method, see
        self._unread = [name for name in (*_PLAIN, "moments") if name not in method.frame_inputs]
        self._frames: Counter[str] = Counter()
        self._misfits: dict[tuple[str, ...], str] = {}  # by the elements of the atoms
        self._survey = method.module.survey(method.settings) if isinstance(method.module, Surveys) else None

    def see(self, frame: extxyz.Frame) -> None:
        self._see(frame)
        if not is_marked(frame.natoms, frame.pairs):  # as psiflow's own candidates for the lowest state are
            self._frames.update(name for name in self._unread if _sets_input(frame, name))
        if isinstance(self._method.module, HasOwnAtoms) and (atoms := tuple(frame.symbols)) not in self._misfits:
            self._misfits[atoms] = _misfit(self._method.module, frame.symbols, self._method.settings)
        if self._survey:
            self._survey.see(extxyz.message(frame, self._method.frame_inputs))

    def decided(self) -> Settings:
        """Settings that all frames together decide, as the reference would have them."""
        return self._survey.decided() if self._survey else {}

    def notes(self) -> Iterator[str]:
        """Raises BadData if no frame can be computed, as where the input is about other atoms."""
        reasons = list(self._misfits.values())
        if reasons and all(reasons):
            hint = "give the input the atoms of the frames, in the same order"
            raise BadData(f"none of the frames matches: {reasons[0]}", hint)
        for name, count in self._frames.items():
            written = MOMENTS if name == "moments" else name
            labels = "so their labels do not include it"
            yield f"frames with {written}: {count}; the reference {self._method.stem} does not read this, {labels}"
        if self._survey:
            yield from self._survey.notes()


def _misfit(module: HasOwnAtoms, symbols: list[str], settings: Settings) -> str:
    """Why the input's own atoms do not say of which kind those of a frame are, or ""."""
    try:
        module.of_atoms(symbols, settings)
    except ValueError as error:
        return str(error)
    return ""


def _sets_input(frame: extxyz.Frame, name: str) -> bool:
    """Whether a frame has another value of an input than that of a frame without it, or an invalid one."""
    try:
        return bool(given_moments(frame, [name])) or given_inputs(frame, [name]).get(name) not in (
            None,
            _PLAIN.get(name),
        )
    except BadData:
        return True
