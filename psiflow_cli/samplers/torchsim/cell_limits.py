"""Cells that are lost, judged on the device; the models are not asked about them: see `worker.md.limits`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from psiflow_cli.samplers.torchsim.integrators import strain
from psiflow_cli.worker.md import limits

if TYPE_CHECKING:
    import numpy as np
    import torch

    from psiflow_cli.messages import Violation
    from psiflow_cli.samplers.torchsim.state import BatchState
    from psiflow_cli.samplers.torchsim.walkers import BatchedWalker


class CellLimits:
    """How far the cells of some walkers may go from where they began."""

    def __init__(self, walkers: Sequence[BatchedWalker], device: torch.device) -> None:
        import numpy as np
        import torch

        rows = [row for walker in walkers for row in walker.start["positions"]]
        self._first = np.array([walker.start["cell"] for walker in walkers], dtype=float)
        self._positions = torch.tensor(rows, dtype=torch.float64).to(device)
        self._cells = torch.from_numpy(self._first).to(device)
        self._sizes = strain.sizes(self._cells)

    def within_limits(self, cells: torch.Tensor) -> torch.Tensor:
        """Whether each cell is within the limits, [B]; see `limits.cell_lost`."""
        ratios = strain.sizes(cells) / self._sizes
        return ((ratios > 1.0 / limits.CELL) & (ratios < limits.CELL)).all(dim=1)

    def violation(self, place: int, cell: np.ndarray) -> Violation | None:
        """What is wrong with the cell of a walker, by its place in the batch."""
        return limits.cell_lost(self._first[place], cell)

    def askable(self, state: BatchState) -> tuple[torch.Tensor, torch.Tensor]:
        """Positions and cells to ask the models about: where a cell is lost, those at which its walker began."""
        import torch

        is_whole = self.within_limits(state.cells)
        positions = torch.where(state.per_atom(is_whole)[:, None], state.positions, self._positions)
        return positions, torch.where(is_whole[:, None, None], state.cells, self._cells)
