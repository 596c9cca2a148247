"""The walkers of a batch on the host: what of them is no tensor, and their way into a state and out of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from psiflow_cli.samplers.torchsim.state import BatchState
from psiflow_cli.samplers.torchsim.transfer import read, to_host
from psiflow_cli.worker.md.walker import MovingWalker, start_atoms
from psiflow_cli.worker.structures.units import BAR

if TYPE_CHECKING:
    import numpy as np
    import torch
    from ase import Atoms

    from psiflow_cli.messages import MDJob, WalkerStart
    from psiflow_cli.worker.md.checkpoint import WalkerState


class BatchedWalker(MovingWalker):
    """One walker; where it is, is known here at the begin of a block, where it stops and at the block's end."""

    def __init__(self, job: MDJob, message: WalkerStart, state: WalkerState | None) -> None:
        import numpy as np

        super().__init__(job, message)
        self._atoms = start_atoms(self.start)
        self.masses = self._atoms.get_masses()
        cell = self.start["cell"] if state is None else state.cell
        self.cell = np.array(np.zeros((3, 3)) if cell is None else cell, dtype=float)
        self.factor = 1.0  # what an exchange multiplies the momenta by
        if state is None:
            self.positions = np.array(self.start["positions"], dtype=float)
            self.momenta = self.first_momenta(self.masses)
        else:
            self.restore(state)
            self.positions, self.momenta = np.array(state.positions), np.array(state.momenta)

    def checkpoint(self) -> WalkerState:
        """What a checkpoint keeps."""
        return self.state(self.positions, self.momenta, None if self.start["cell"] is None else self.cell.tolist())

    def scale_momenta(self, factor: float) -> None:
        self.factor *= factor

    def place(self) -> tuple[np.ndarray, np.ndarray]:
        return self.positions, self.cell

    def atoms(self) -> Atoms:
        """The walker where it is."""
        self._atoms.positions[:] = self.positions
        if self.start["cell"] is not None:
            self._atoms.cell.array[:] = self.cell
        return self._atoms


def gathered(walkers: Sequence[BatchedWalker], device: torch.device) -> BatchState:
    """The state of the walkers, which is not evaluated yet."""
    import numpy as np
    import torch

    def sent(arrays: list[np.ndarray]) -> torch.Tensor:
        return torch.from_numpy(np.concatenate(arrays)).to(device)

    masses = sent([walker.masses.repeat(3).reshape(-1, 3) for walker in walkers])
    state = at_rest([walker.positions for walker in walkers], [walker.cell for walker in walkers], device, masses)
    if any(walker.fixed for walker in walkers):
        moves = [np.ones((len(walker.masses), 3)) for walker in walkers]
        for walker, each in zip(walkers, moves, strict=True):
            each[walker.fixed] = 0.0
        state.moves = sent(moves)
    state.momenta = sent([walker.momenta for walker in walkers])
    state.dof = sent([np.array([float(walker.degrees_of_freedom)]) for walker in walkers])
    state.pressure = sent([np.array([walker.pressure * BAR]) for walker in walkers])
    state.own = {
        name: torch.tensor([walker.more[name] for walker in walkers], dtype=torch.float64).to(device)
        for name in walkers[0].more
    }
    return state


def at_rest(
    positions: Sequence[np.ndarray], cells: Sequence[np.ndarray], device: torch.device,
    masses: torch.Tensor | None = None,
) -> BatchState:  # fmt: skip
    """The state of walkers at these positions, shape (n, 3), in these cells, (3, 3), that do not move yet.

    `masses` are as in the state; 1 where nothing will move.
    """
    import numpy as np
    import torch

    places = torch.from_numpy(np.concatenate(positions)).to(device)
    of_walkers = torch.zeros(len(cells), dtype=torch.float64, device=device)
    return BatchState(
        counts=[len(each) for each in positions], positions=places, cells=torch.from_numpy(np.stack(cells)).to(device),
        momenta=torch.zeros_like(places), forces=torch.zeros_like(places), 
        masses=torch.ones_like(places) if masses is None else masses,
        moves=None, dof=of_walkers, kelvin=of_walkers, pressure=of_walkers, energy=of_walkers,
    )  # fmt: skip


def scatter(state: BatchState, walkers: Sequence[BatchedWalker]) -> None:
    """Put the walkers where the state has them."""
    arrays = read({name: getattr(state, name) for name in ("positions", "momenta", "cells", "energy")})
    own = {name: to_host(values).tolist() for name, values in state.own.items()}
    for place, (walker, atoms) in enumerate(zip(walkers, state.parts(), strict=True)):
        walker.positions, walker.momenta = arrays["positions"][atoms].copy(), arrays["momenta"][atoms].copy()
        walker.cell, walker.energy = arrays["cells"][place].copy(), float(arrays["energy"][place])
        walker.more = {name: values[place] for name, values in own.items()}
