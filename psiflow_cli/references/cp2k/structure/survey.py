"""What can be said of the frames before any is computed: those that cannot be, and the boxes of the others."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from psiflow_cli.errors import BadData, counted
from psiflow_cli.references.cp2k import template
from psiflow_cli.references.cp2k.single_point import Placing, formula, solver
from psiflow_cli.references.cp2k.structure.periodicity import Impossible

if TYPE_CHECKING:
    from psiflow_cli.messages import Frame
    from psiflow_cli.messages import Settings as SharedSettings
    from psiflow_cli.references.cp2k.template import Settings


class Survey:
    """Frames against a template, one after the other."""

    def __init__(self, settings: Settings, where: str) -> None:
        self._settings = settings
        force_eval = template.only(template.parse(settings["template"], where), "FORCE_EVAL")
        self._place = Placing(force_eval, settings)
        self._where = where
        self._periodic = settings.get("periodic", "")
        self._total = 0
        self._refused = self._tight = 0
        self._reason: Impossible | None = None
        self._small = ""
        self._others: Counter[str] = Counter()
        self._cubes: dict[str, float] = {}
        self._boxes = self._shifted = 0
        self._solver = solver(force_eval) or "PERIODIC"
        self._solvers: Counter[tuple[str, str]] = Counter()

    def see(self, frame: Frame) -> None:
        """Take note of a frame."""
        self._total += 1
        try:
            box, _ = self._place(frame)
        except Impossible as error:
            self._refused += 1
            self._reason = self._reason or error
            return
        if box.edge is not None:
            self._boxes += 1
            atoms = formula(frame["symbols"])
            self._cubes[atoms] = max(box.edge, self._cubes.get(atoms, 0.0))
        if box.tight:
            self._tight += 1
            self._small = self._small or box.tight
        self._shifted += box.shifted
        if box.solver != self._solver and box.edge is None:  # a cube has a line of its own
            self._solvers[box.periodic, box.solver] += 1
        if self._periodic and box.periodic != self._periodic:
            self._others[box.periodic] += 1

    def notes(self) -> list[str]:
        """What the user should know. Raises BadData if no frame can be computed."""
        notes = []
        if self._reason and self._refused == self._total:
            none = "the frame does not match" if self._total == 1 else f"none of the {self._total} frames matches"
            raise BadData(f"{self._where}: {none} the template: {self._reason.reason}", self._reason.hint)
        if self._reason:
            notes.append(f"warning: {self._refused} of {self._total} frames cannot be computed: {self._reason}")
        if self._tight:
            notes.append(
                f"warning: {counted(self._tight, 'frame')} computed in a cell with too little room: {self._small}"
            )
        for periodic, count in self._others.items():
            own = f"{self._where}: its &CELL says PERIODIC {self._periodic}"
            notes.append(f"{own}, {counted(count, 'frame')} PERIODIC {periodic}: the periodicity of the frames is used")
        for (periodic, instead), count in self._solvers.items():
            own = f"{self._where}: {counted(count, 'frame')} PERIODIC {periodic}"
            notes.append(
                f"{own}: POISSON_SOLVER {instead} instead of {self._solver}; to choose another, set it in the input"
            )
        if self._shifted:
            notes.append(
                f"{counted(self._shifted, 'frame')} moved to the middle of the cell: WAVELET needs space on all sides"
            )
        return notes + self._boxes_made()

    def decided(self) -> SharedSettings:
        """The cubes, each so wide that all frames of its atoms have room."""
        return {"cubes": self._cubes} if self._cubes and "box" not in self._settings else {}

    def _boxes_made(self) -> list[str]:
        if not self._boxes or "box" in self._settings:
            return []
        least, most = min(self._cubes.values()), max(self._cubes.values())
        sizes = f"{least:g} Å" if least == most else f"{least:g} to {most:g} Å, one for all frames of the same atoms"
        text = f"{counted(self._boxes, 'frame')} without a cell: computed in a cube of {sizes} (psiflow_box)"
        return [f"{text}; to change this, use --set box=EDGE or a &CELL with PERIODIC NONE in the input"]
