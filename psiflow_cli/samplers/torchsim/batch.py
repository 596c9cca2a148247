"""Walkers in arrays one after another, so that one call of the model serves all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psiflow_cli.worker.md.walker import MovingWalker, start_atoms

if TYPE_CHECKING:
    from ase import Atoms

    from psiflow_cli.messages import MDJob, WalkerStart
    from psiflow_cli.samplers.torchsim.forces import Forces
    from psiflow_cli.worker.md.checkpoint import WalkerState


class BatchedWalker(MovingWalker):
    """One walker; while it is in a batch, `positions` (Å) and `momenta` of shape (N, 3) are views of the batch's."""

    def __init__(self, job: MDJob, message: WalkerStart, state: WalkerState | None) -> None:
        import numpy as np

        super().__init__(job, message)
        self._atoms = start_atoms(self.start)
        self.numbers, self.masses = self._atoms.numbers, self._atoms.get_masses()
        self.cell = np.array(np.zeros((3, 3)) if self.start["cell"] is None else self.start["cell"], dtype=float)
        if state is None:
            self.positions = np.array(self.start["positions"], dtype=float)
            self.momenta = self.first_momenta(self.masses)
        else:
            self.restore(state)
            self.positions, self.momenta = np.array(state.positions), np.array(state.momenta)

    def checkpoint(self) -> WalkerState:
        """What a checkpoint keeps."""
        return self.state(self.positions, self.momenta, self.start["cell"])

    def scale_momenta(self, factor: float) -> None:
        self.momenta *= factor

    def atoms(self) -> Atoms:
        """The walker where it is."""
        self._atoms.positions[:] = self.positions
        return self._atoms


class Batch:
    """The walkers that go on, and what the model predicts where they are."""

    def __init__(self, walkers: list[BatchedWalker], forces: Forces) -> None:
        self.walkers, self.forces = walkers, forces
        self._gather()
        self.evaluate()

    def _gather(self) -> None:
        """Put the walkers into arrays; each keeps a view of its part."""
        import numpy as np

        walkers = self.walkers
        self.positions = np.concatenate([np.zeros((0, 3)), *(walker.positions for walker in walkers)])
        self.momenta = np.concatenate([np.zeros((0, 3)), *(walker.momenta for walker in walkers)])
        self.masses = np.concatenate([np.zeros(0), *(walker.masses for walker in walkers)])[:, None]
        self.moves = np.ones_like(self.masses)
        """0 for an atom that does not move, else 1; shape (N, 1), as the masses."""
        self.parts: list[slice] = []  # which rows of the arrays are each walker's
        begin = 0
        for walker in walkers:
            part = slice(begin, begin + len(walker.masses))
            walker.positions, walker.momenta = self.positions[part], self.momenta[part]
            self.moves[part][walker.fixed] = 0.0
            self.parts.append(part)
            begin = part.stop

    def evaluate(self) -> None:
        """Ask the model about the present positions."""
        self.predicted = self.forces(self.positions)
        for walker, energy in zip(self.walkers, self.predicted.energy, strict=True):
            walker.energy = float(energy)

    def drop_stopped(self) -> None:
        """Go on without the walkers that are stopped."""
        import numpy as np

        going = [index for index, walker in enumerate(self.walkers) if walker.stopped is None]
        if len(going) == len(self.walkers):
            return
        for walker in self.walkers:
            if walker.stopped is not None:
                walker.positions, walker.momenta = walker.positions.copy(), walker.momenta.copy()
        rows = [np.arange(self.parts[index].start, self.parts[index].stop) for index in going]
        self.predicted = self.predicted.of(going, np.concatenate([np.arange(0), *rows]))
        self.walkers = [self.walkers[index] for index in going]
        self.forces.keep(going)
        self._gather()
