"""What i-PI asks for forces: the model's ASE calculator, bead after bead, in psiflow's units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict, cast

from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.md import limits
from psiflow_cli.worker.md.walker import model_stress

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms
    from ase.calculators.calculator import Calculator
    from ipi.engine.atoms import Atoms as IpiAtoms
    from ipi.engine.cell import Cell
    from ipi.engine.forces import ForceComponent

    from psiflow_cli.worker.md.frame_record import Spread

    Batched = Callable[[Atoms, list[np.ndarray], np.ndarray | None], list["BeadForces"]]
    """Answers for all beads at once, of positions in Å and the cell if it is another than before."""


class Request(TypedDict):
    """A question of i-PI's for one bead."""

    status: str  # `Queued` or `Done`
    result: list[object] | None  # [energy, forces, virial, {}]
    t_queued: float
    t_dispatched: float
    t_finished: float


@dataclass(frozen=True)
class BeadForces:
    """What the model predicts for one bead: of positions (Å), energy (eV), forces (eV/Å), stress (eV/Å³) if asked."""

    positions: np.ndarray
    energy: float
    forces: np.ndarray
    stress: np.ndarray | None
    spread: Spread | None


class ModelForceField:
    """A force field of i-PI's that answers at once, and keeps what the model itself has predicted for each bead.

    Recorded energies are these, and have never been through anybody's conversion of units.
    """

    name = "model"
    latency = 0.0

    def __init__(self, atoms: Atoms, calculator: Calculator | None, cell_moves: bool, batched: Batched | None):
        """`calculator` or `batched` answers."""
        self.atoms, self.calculator, self.cell_moves, self.batched = atoms, calculator, cell_moves, batched
        self.first_cell = atoms.cell.array.copy()
        self.bead_numbers: dict[int, int] = {}  # which bead a request of i-PI's is about
        self.predicted: list[BeadForces] = []  # of each bead, once all have been asked for
        self.wants_stress = False  # whether the next positions are to have a stress, if the model has one
        self._waiting: dict[int, tuple[np.ndarray, Request]] = {}

    def bind(self, component: ForceComponent) -> None:
        """Learn from i-PI's force component which request belongs to which bead."""
        import numpy as np

        self.bead_numbers = {bead.uid: index for index, bead in enumerate(component._forces)}
        nothing = np.zeros((0, 3))
        self.predicted = [BeadForces(nothing, float("nan"), nothing, None, None)] * len(self.bead_numbers)

    def queue(self, atoms: IpiAtoms, cell: Cell, reqid: int) -> Request:
        """i-PI's question for a bead, with its answer: [energy, forces, virial, nothing else].

        Beads that are asked about together have theirs as soon as i-PI, which waits for none before, has come to the
        last of them.
        """
        import numpy as np

        positions, bead = np.array(atoms.q).reshape(-1, 3), self.bead_numbers[reqid]
        request: Request = {"status": "Queued", "result": None, "t_queued": 0.0, "t_dispatched": 0.0, "t_finished": 0.0}
        self._waiting[bead] = (positions, request)
        if self.batched is None or len(self._waiting) == len(self.bead_numbers):
            self._answer(np.array(cell.h).T)
        return request

    def _answer(self, cell: np.ndarray) -> None:
        """Ask the model about every bead that waits."""
        waiting, self._waiting = sorted(self._waiting.items()), {}
        if self.cell_moves:
            limits.check_cell(self.first_cell, cell)
            self.atoms.set_cell(cell)
        if self.batched is not None:
            places = [positions for _, (positions, _) in waiting]
            answers = self.batched(self.atoms, places, cell if self.cell_moves else None)
        else:
            answers = [self._predict(positions) for _, (positions, _) in waiting]
        for (bead, (_, request)), predicted in zip(waiting, answers, strict=True):
            self.predicted[bead] = predicted
            request["result"] = [predicted.energy, predicted.forces.ravel(), self._virial(predicted.stress), {}]
            request["status"] = "Done"

    def _virial(self, stress: np.ndarray | None) -> np.ndarray:
        import numpy as np

        if stress is None:
            return np.zeros((3, 3))
        return cast("np.ndarray", -np.asarray(stress)[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]] * self.atoms.get_volume())

    def release(self, request: Request) -> None:
        """Nothing waits for the end of a question."""

    def _predict(self, positions: np.ndarray) -> BeadForces:
        import numpy as np

        calculator, atoms = self.calculator, self.atoms
        assert calculator is not None
        atoms.set_positions(positions)
        stress = model_stress(calculator, atoms) if self.cell_moves or self.wants_stress else None
        if stress is None and self.cell_moves:
            raise Fatal("the model predicts no stress, which is needed to change the cell", "choose --ensemble nvt")
        energy = float(calculator.get_property("energy", atoms))
        forces = np.array(calculator.get_property("forces", atoms), dtype=float)
        return BeadForces(positions, energy, forces, stress, getattr(calculator, "spread", None))
