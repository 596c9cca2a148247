"""The frames of a task, moved together by one optimiser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from psiflow_cli.worker.structures.optimisation import strains
from psiflow_cli.worker.structures.optimisation.optimisers import Fire, Lbfgs, Optimiser, Rows

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms

    from psiflow_cli.messages import RelaxSettings

TOGETHER: dict[str, Callable[[], Optimiser]] = {"lbfgs": Lbfgs, "fire": Fire}
MOVES_CELL = ("isotropic", "shape", "flexible")


class Moving(Protocol):
    """A frame that is not at its end, with what its model says of where it is."""

    atoms: Atoms


class Moves:
    """The state of the optimisation of frames, of which fewer and fewer are left."""

    def __init__(self, settings: RelaxSettings) -> None:
        from ase import units

        self._cell, self._pressure = settings["cell"], settings["pressure"] * units.bar
        self._optimiser = TOGETHER[settings["optimizer"]]()
        self._runs: list[Moving] = []

    def step(self, runs: Sequence[Moving]) -> None:
        """Move the atoms of frames, and their cells; all of them were here before, if any were."""
        import numpy as np

        if not self._runs:
            self._start(runs)
        elif len(runs) < len(self._runs):
            self._leave(runs)
        forces = np.concatenate([run.atoms.get_forces() for run in runs])
        if self._cell not in MOVES_CELL:
            self._places += self._optimiser.step(self._places, forces, self._atoms)
            self._put(self._places)
            return
        sizes = self._atoms.counts.astype(float)[:, None, None]
        deformation = strains.deformations(self._logarithms)
        forces = strains.on_places(forces, deformation, self._atoms)
        stresses = np.array([run.atoms.get_stress() for run in runs])
        cells = np.array([run.atoms.cell.array for run in runs])
        driving = strains.on_logarithms(self._logarithms, stresses, cells, self._pressure, self._cell) / sizes
        x = self._with_cells(self._places, self._logarithms * sizes)
        move = self._optimiser.step(x, self._with_cells(forces, driving), self._rows)
        self._places += move[~self._of_cell]
        self._logarithms += move[self._of_cell].reshape(-1, 3, 3) / sizes
        deformation = strains.deformations(self._logarithms)
        self._put(strains.deformed(self._places, deformation, self._atoms), deformation)

    def _start(self, runs: Sequence[Moving]) -> None:
        import numpy as np

        self._places = np.concatenate([run.atoms.positions for run in runs])
        self._cells = np.array([run.atoms.cell.array for run in runs])
        self._logarithms = np.zeros((len(runs), 3, 3))
        self._count(runs)

    def _count(self, runs: Sequence[Moving]) -> None:
        import numpy as np

        self._runs = list(runs)
        counts = [len(run.atoms) for run in runs]
        moves_cell = self._cell in MOVES_CELL
        self._atoms = Rows(counts)
        self._rows = Rows([count + 3 for count in counts]) if moves_cell else self._atoms
        kinds = [[False] * count + [True] * 3 * moves_cell for count in counts]
        self._of_cell = np.concatenate(kinds)  # whether a row is one of the three that are a cell's

    def _leave(self, runs: Sequence[Moving]) -> None:
        import numpy as np

        left = set(map(id, runs))
        stays = np.array([id(run) in left for run in self._runs])
        self._optimiser.leave(stays, stays[self._rows.frame])
        self._places, self._logarithms = self._places[stays[self._atoms.frame]], self._logarithms[stays]
        self._cells = self._cells[stays]
        self._count(runs)

    def _with_cells(self, of_atoms: np.ndarray, of_cells: np.ndarray) -> np.ndarray:
        """Rows of atoms and of cells, in the order of all rows."""
        import numpy as np

        whole = np.empty((len(self._of_cell), 3))
        whole[~self._of_cell], whole[self._of_cell] = of_atoms, of_cells.reshape(-1, 3)
        return whole

    def _put(self, positions: np.ndarray, deformation: np.ndarray | None = None) -> None:
        """Give each frame its positions, and its cell."""
        import numpy as np

        ends = self._atoms.counts.cumsum()[:-1]
        for index, (run, own) in enumerate(zip(self._runs, np.split(positions, ends), strict=True)):
            if deformation is not None:
                run.atoms.set_cell(self._cells[index] @ deformation[index].T, apply_constraint=False)
            run.atoms.positions = own
