"""What i-PI asks for forces: the model's ASE calculator, bead after bead, in psiflow's units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psiflow_cli.worker.failures import Fatal

Wire = dict[str, Any]


@dataclass(frozen=True)
class Found:
    """What the model said of one bead: positions (Å), energy (eV), forces (eV/Å), stress (eV/Å³) if asked for."""

    positions: Any
    energy: float
    forces: Any
    stress: Any
    spread: Any


class Field:
    """A force field of i-PI's that answers at once, and keeps what the model itself has said of each bead.

    Recorded energies are these, and have never been through anybody's conversion of units.
    """

    name = "model"
    latency = 0.0

    def __init__(self, atoms: Any, calculator: Any, cell_moves: bool, together: Any = None) -> None:
        self.atoms, self.calculator, self.cell_moves, self.together = atoms, calculator, cell_moves, together
        self.beads: dict[int, int] = {}
        """Which bead a request of i-PI's is about."""
        self.found: list[Found] = []
        """Of each bead, once all have been asked for."""
        self.stress = False
        """Whether the next positions are to have a stress, if the model has one."""
        self._waiting: dict[int, tuple[Any, Wire]] = {}

    def bind(self, component: Any) -> None:
        """Learn from i-PI's force component which request belongs to which bead."""
        self.beads = {bead.uid: index for index, bead in enumerate(component._forces)}
        self.found = [Found(None, float("nan"), None, None, None)] * len(self.beads)

    def queue(self, atoms: Any, cell: Any, reqid: int) -> Wire:
        """i-PI's question for a bead, with its answer: [energy, forces, virial, nothing else].

        Beads that are asked about together have theirs as soon as i-PI, which waits for none before, has come to the
        last of them.
        """
        import numpy as np

        positions, bead = np.array(atoms.q).reshape(-1, 3), self.beads[reqid]
        request: Wire = {"status": "Queued", "result": None, "t_queued": 0.0, "t_dispatched": 0.0, "t_finished": 0.0}
        self._waiting[bead] = (positions, request)
        if self.together is None or len(self._waiting) == len(self.beads):
            self._answer(np.array(cell.h).T)
        return request

    def _answer(self, cell: Any) -> None:
        """Ask the model about every bead that waits."""
        waiting, self._waiting = sorted(self._waiting.items()), {}
        if self.cell_moves:
            self.atoms.set_cell(cell)
        if self.together is not None:
            places = [positions for _, (positions, _) in waiting]
            answers = self.together(self.atoms, places, cell if self.cell_moves else None)
        else:
            answers = [self._ask(positions) for _, (positions, _) in waiting]
        for (bead, (_, request)), found in zip(waiting, answers, strict=True):
            self.found[bead] = found
            request["result"] = [found.energy, found.forces.ravel(), self._virial(found.stress), {}]
            request["status"] = "Done"

    def _virial(self, stress: Any) -> Any:
        import numpy as np

        if stress is None:
            return np.zeros((3, 3))
        return -np.asarray(stress)[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]] * self.atoms.get_volume()

    def release(self, request: Wire) -> None:
        """Nothing waits for the end of a question."""

    def _ask(self, positions: Any) -> Found:
        import numpy as np

        calculator, atoms = self.calculator, self.atoms
        atoms.set_positions(positions)
        stress = self._stress() if self.cell_moves or self.stress else None
        energy = float(calculator.get_property("energy", atoms))
        forces = np.array(calculator.get_property("forces", atoms), dtype=float)
        return Found(positions, energy, forces, stress, getattr(calculator, "spread", None))

    def _stress(self) -> Any:
        from ase.calculators.calculator import PropertyNotImplementedError

        try:
            return self.calculator.get_property("stress", self.atoms)
        except (PropertyNotImplementedError, NotImplementedError):
            if self.cell_moves:
                raise Fatal("the model has no stress, which moves the cell", "choose --ensemble nvt") from None
            return None
