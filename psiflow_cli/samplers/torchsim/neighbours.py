"""Pairs of atoms within a cutoff, for many walkers at once: a list with a skin, on the device, reused while it holds.

The list is cut down to the cutoff in every step, and its order follows from the pairs alone: a step has the same graph,
whenever the list was made.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psiflow_cli.samplers.torchsim.transfer import to_host

if TYPE_CHECKING:
    import torch

SKIN = 1.0  # Å
_MARGIN = 1e-6  # Å, more than rounding
ELEMENTS = 4_000_000
"""Of the arrays of candidates that are made at once."""


@dataclass(frozen=True)
class Pairs:
    """E pairs, by (first, second, shift); see `graphs.Graph`."""

    index: torch.Tensor  # [2, E]
    shifts: torch.Tensor  # [E, 3]
    squares: torch.Tensor  # [E], squares of the distances (Å²)


@dataclass(frozen=True)
class _Skin:
    """All pairs within the cutoff and the skin, and where the atoms were then."""

    index: torch.Tensor
    shifts: torch.Tensor
    vectors: torch.Tensor  # [E, 3], the shifts in Å
    positions: torch.Tensor
    cells: torch.Tensor


class NeighbourList:
    """Of some walkers, whose numbers of atoms do not change; `cells_move` where their cells may."""

    def __init__(self, counts: Sequence[int], pbc: Sequence[bool], cutoff: float, cells_move: bool) -> None:
        self._counts, self._pbc, self.cutoff, self._cells_move = list(counts), list(pbc), cutoff, cells_move
        self._skin: _Skin | None = None

    def pairs(self, positions: torch.Tensor, cells: torch.Tensor, system: torch.Tensor) -> Pairs:
        """All pairs within the cutoff; positions [N, 3] and cells [B, 3, 3] in Å, `system` [N]."""
        if self._skin is not None:
            pairs, stale = self._within(self._skin, positions, cells, system)
            # A stale list gives no pairs: so their number, which the host must know in any case, tells of it.
            if pairs.squares.numel() or not bool(to_host(stale)):
                return pairs
        index, shifts = candidates(positions, cells, self._counts, self._pbc, self.cutoff + SKIN + _MARGIN)
        vectors = _in_angstrom(shifts, cells.index_select(0, system.index_select(0, index[0])))
        self._skin = _Skin(index, shifts, vectors, positions, cells)
        return self._within(self._skin, positions, cells, system)[0]

    def _within(
        self, skin: _Skin, positions: torch.Tensor, cells: torch.Tensor, system: torch.Tensor
    ) -> tuple[Pairs, torch.Tensor]:
        """The pairs of a list that are within the cutoff, none if it is stale; and whether it is, [].

        A pair that was out of the list, at d > cutoff + skin, is beyond the cutoff as long as its atoms have moved by
        less than half the skin each; where the cell has moved, by the least that it can have left of d.
        """
        import torch

        first, second = skin.index
        if self._cells_move:
            change = torch.linalg.solve(skin.cells, cells)
            identity = torch.eye(3, dtype=cells.dtype, device=cells.device)
            strain = torch.linalg.matrix_norm(change - identity)  # of all lengths, at most
            carried = torch.bmm(skin.positions[:, None], change.index_select(0, system))[:, 0]
            allowed = (0.5 * (SKIN - strain * (self.cutoff + SKIN))).clamp(min=0.0).square().index_select(0, system)
            stale = ((positions - carried).square().sum(dim=1) > allowed).any()
            vectors = _in_angstrom(skin.shifts, cells.index_select(0, system.index_select(0, first)))
        else:
            stale = ((positions - skin.positions).square().sum(dim=1) > (0.5 * SKIN) ** 2).any()
            vectors = skin.vectors
        ways = positions.index_select(0, second) - positions.index_select(0, first) + vectors
        squares = ways.square().sum(dim=1)
        there = ((squares < self.cutoff**2) & ~stale).nonzero()[:, 0]
        index, shifts = skin.index.index_select(1, there), skin.shifts.index_select(0, there)
        return Pairs(index, shifts, squares.index_select(0, there)), stale


def candidates(
    positions: torch.Tensor, cells: torch.Tensor, counts: Sequence[int], pbc: Sequence[bool], cutoff: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """All pairs within a cutoff (Å) by (first, second, shift): [2, E], and the shifts [E, 3].

    Every pair of a walker's atoms is looked at, in as many images as the cutoff needs.
    """
    import torch

    device, size, most = positions.device, torch.tensor(counts, device=positions.device), max(counts)
    begins = size.cumsum(0) - size
    columns = torch.arange(most, device=device)
    valid = columns < size[:, None]  # [B, most]
    rows = torch.where(valid, begins[:, None] + columns, 0)
    axes = [axis for axis in range(3) if pbc[axis]]
    images, inverse = _images(cells, axes, cutoff)
    per_walker = most * most * len(images)
    walkers, lines = max(1, ELEMENTS // per_walker), max(1, ELEMENTS // (most * len(images)))
    indices, shifts = [], []
    for begin in range(0, len(counts), walkers):
        part = slice(begin, begin + walkers)
        places = positions[rows[part]]  # [b, most, 3]
        fractions = places @ inverse[part]
        for low in range(0, most, lines if walkers == 1 else most):
            line = slice(low, low + lines if walkers == 1 else most)
            nearest = -(fractions[:, None] - fractions[:, line, None]).round()  # [b, i, j, axes]
            vectors = cells[part][:, axes]  # [b, axes, 3]
            ways = places[:, None] - places[:, line, None] + _rows_times(nearest, vectors)
            steps = images.to(cells.dtype) @ vectors  # [b, images, 3]
            flat = ways.flatten(1, 2)
            squares = (flat * flat).sum(-1)[..., None] + (steps * steps).sum(-1)[:, None] + 2.0 * flat @ steps.mT
            near = (squares < cutoff**2).reshape(*ways.shape[:3], len(images))
            near &= (valid[part][:, line, None] & valid[part][:, None])[..., None]
            walker, first, second, image = near.nonzero().unbind(1)
            shift = nearest[walker, first, second] + images[image]
            first = first + low
            apart = (first != second) | (shift != 0).any(dim=1)
            walker, first, second, shift = walker[apart] + begin, first[apart], second[apart], shift[apart]
            indices.append(torch.stack([rows[walker, first], rows[walker, second]]))
            shifts.append(shift)
    whole = torch.zeros((sum(map(len, shifts)), 3), dtype=positions.dtype, device=device)
    whole[:, axes] = torch.cat(shifts)
    return torch.cat(indices, dim=1), whole


def _images(cells: torch.Tensor, axes: list[int], cutoff: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The images of the nearest one to look at, [M, axes] and sorted; and what makes fractions of places, [B, 3, axes].

    The nearest image by rounded fractions is within half a cell along each axis.
    """
    import torch

    if not axes:
        return torch.zeros((1, 0), device=cells.device), cells.new_zeros((len(cells), 3, 0))
    inverse = torch.linalg.pinv(cells[:, axes])
    widths = to_host((1.0 / inverse.norm(dim=1)).amin(dim=0)).tolist()
    reach = [math.floor(cutoff / width + 0.5 + 1e-9) for width in widths]
    images = list(itertools.product(*(range(-most, most + 1) for most in reach)))
    return torch.tensor(images, dtype=cells.dtype, device=cells.device), inverse


def _rows_times(rows: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """[b, i, j, axes] times [b, axes, 3]."""
    return (rows.flatten(1, 2) @ vectors).reshape(*rows.shape[:3], 3)


def _in_angstrom(shifts: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    """Shifts [E, 3] of the cells [E, 3, 3] as vectors."""
    import torch

    return torch.einsum("be,bec->bc", shifts, cells)
