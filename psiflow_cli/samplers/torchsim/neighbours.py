"""Pairs of atoms within a cutoff, for many walkers at once: a list with a skin, on the device, reused while it holds.

The list is cut down to the cutoff in every step, and its order follows from the pairs alone: a step has the same graph,
whenever the list was made. The host waits for the number of these pairs; where it shall not, it takes a fixed number of
them, of which the last are beyond the cutoff and contribute nothing, and it asks later whether that was enough.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psiflow_cli.samplers.torchsim.transfer import to_host

if TYPE_CHECKING:
    import torch

SKIN = 0.7  # Å
_MARGIN = 1e-6  # Å, more than rounding
SPARE = 1 / 64
"""Of the pairs within the cutoff when a list is made: for how many more there is room; a GPU computes them all."""
_FEW = 32  # that a small system has room for
CANDIDATES = 4_000_000
"""Pairs that are looked at in one go."""


@dataclass(frozen=True)
class Pairs:
    """E pairs, each in one direction, by (first, second, shift) with first <= second; shifts as in `graphs.Graph`."""

    index: torch.Tensor  # [2, E]
    shifts: torch.Tensor  # [3, E]
    squares: torch.Tensor  # [E], squares of the distances (Å²)
    cutoff: float  # Å


@dataclass(frozen=True)
class _Skin:
    """All pairs within the cutoff and the skin, and where the atoms were then."""

    index: torch.Tensor  # [2, E], as int32: half of the memory to read in each step
    shifts: torch.Tensor  # [3, E]
    vectors: torch.Tensor  # [3, E], the shifts in Å
    positions: torch.Tensor
    inverse: torch.Tensor | None  # [B, 3, 3], of the cells, where they move
    room: int  # how many pairs are taken where the host does not wait for their number


class NeighbourList:
    """Of some walkers, whose numbers of atoms do not change; `cells_move` where their cells may."""

    def __init__(self, counts: Sequence[int], pbc: Sequence[bool], cutoff: float, cells_move: bool) -> None:
        self._counts, self._pbc, self.cutoff, self._cells_move = list(counts), list(pbc), cutoff, cells_move
        self._skin: _Skin | None = None
        self._worn: torch.Tensor | None = None  # see `worn`
        self._looks = 0  # since the list was made
        self.exact = True
        """Whether the host waits for the number of pairs in each step."""

    def pairs(self, positions: torch.Tensor, cells: torch.Tensor, system: torch.Tensor) -> Pairs:
        """All pairs within the cutoff; positions [N, 3] and cells [B, 3, 3] in Å, `system` [N]."""
        import torch

        if self._skin is not None:
            squares, used = self._squares(self._skin, positions, cells, system)
            if not self.exact:
                return self._first(self._skin, squares, used)
            # A stale list gives no pairs: so their number, which the host must know in any case, tells of it.
            there = ((squares < self.cutoff**2) & (used <= 1.0)).nonzero()[:, 0]
            if there.numel() or bool(to_host(used <= 1.0)):
                return _chosen(self._skin, squares, there, self.cutoff)
        index, shifts = candidates(positions, cells, self._counts, self._pbc, self.cutoff + SKIN + _MARGIN)
        vectors = _in_angstrom(shifts, cells, system.index_select(0, index[0]))
        inverse = torch.linalg.inv(cells) if self._cells_move else None  # here, as it waits for the device
        skin = _Skin(index.int(), shifts, vectors, positions, inverse, 0)
        squares, _ = self._squares(skin, positions, cells, system)
        there = (squares < self.cutoff**2).nonzero()[:, 0]
        room = min(len(squares), len(there) + int(SPARE * len(there)) + _FEW)
        self._skin, self._worn, self._looks = dataclasses.replace(skin, room=room), None, 0
        if not self.exact:
            return self._first(self._skin, squares, squares.new_zeros(()))
        return _chosen(skin, squares, there, self.cutoff)

    @property
    def worn(self) -> torch.Tensor:
        """[2], as far as nobody has waited: the largest part of the skin, and of the room, that was used."""
        assert self._worn is not None
        return self._worn

    def held(self, used: float, filled: float) -> bool:
        """Whether the list, `worn` so far, had all pairs; one that may not last until the next look is built again.

        Atoms that begin at rest move by the square of the time.
        """
        self._looks += 1
        if used * (1.0 + 1.0 / self._looks) ** 2 > 1.0 or filled > 1.0 - 0.25 * SPARE:
            self._skin = None
        return used <= 1.0 and filled <= 1.0

    def _first(self, skin: _Skin, squares: torch.Tensor, used: torch.Tensor) -> Pairs:
        """As many pairs as there is room for, those within the cutoff before the others; nothing waits for them."""
        import torch

        near = squares < self.cutoff**2
        before, all_near = near.cumsum(0), near.sum()
        numbers = torch.arange(len(near), device=near.device)
        places = torch.where(near, before - 1, all_near + numbers - before)
        order = torch.empty_like(numbers).scatter_(0, places, numbers)
        whole = skin.room == len(squares)
        filled = squares.new_zeros(()) if whole else all_near / max(1, skin.room)
        worn = torch.stack([used, filled.to(used.dtype)])
        self._worn = worn if self._worn is None else torch.maximum(self._worn, worn)
        return _chosen(skin, squares, order[: skin.room], self.cutoff)

    def _squares(
        self, skin: _Skin, positions: torch.Tensor, cells: torch.Tensor, system: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The squares of the distances of all pairs of a list; and the part of the skin that is used, [].

        A pair that was out of the list, at d > cutoff + skin, is beyond the cutoff as long as its atoms have moved by
        less than half the skin each; where the cell has moved, by the least that it can have left of d.
        """
        import torch

        first, second = skin.index
        if skin.inverse is not None:
            change = skin.inverse @ cells
            identity = torch.eye(3, dtype=cells.dtype, device=cells.device)
            strain = torch.linalg.matrix_norm(change - identity)  # of any length, at most
            carried = torch.bmm(skin.positions[:, None], change.index_select(0, system))[:, 0]
            allowed = (0.5 * (SKIN - strain * (self.cutoff + SKIN))).clamp(min=1e-12).index_select(0, system)
            used = ((positions - carried).square().sum(dim=1).sqrt() / allowed).nan_to_num(nan=0.0).amax()
            vectors = _in_angstrom(skin.shifts, cells, system.index_select(0, first))
        else:
            moved = (positions - skin.positions).square().sum(dim=1).nan_to_num(nan=0.0)
            used = moved.amax().sqrt() / (0.5 * SKIN)
            vectors = skin.vectors
        squares = torch.zeros_like(vectors[0])
        for places, vector in zip(positions.T.contiguous(), vectors, strict=True):  # faster than rows of three numbers
            way = places.index_select(0, second).sub_(places.index_select(0, first)).add_(vector)
            squares.addcmul_(way, way)
        return squares, used


def _chosen(skin: _Skin, squares: torch.Tensor, there: torch.Tensor, cutoff: float) -> Pairs:
    """Some pairs of a list, by their places."""
    index, shifts = skin.index.index_select(1, there), skin.shifts.index_select(1, there)
    return Pairs(index.long(), shifts, squares.index_select(0, there), cutoff)


def candidates(
    positions: torch.Tensor, cells: torch.Tensor, counts: Sequence[int], pbc: Sequence[bool], cutoff: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """All pairs within a cutoff (Å), as in `Pairs`: [2, E], and their shifts [3, E].

    Every two atoms of a walker are looked at, in as many images as the cutoff needs.
    """
    import torch

    device, sizes, most = positions.device, torch.tensor(counts, device=positions.device), max(counts)
    begins = sizes.cumsum(0) - sizes
    axes = [axis for axis in range(3) if pbc[axis]]
    images, inverse = _images(cells, axes, cutoff)
    columns = torch.arange(most, device=device)
    rows = torch.where(columns < sizes[:, None], begins[:, None] + columns, 0)  # [B, most]
    walkers = max(1, 2 * CANDIDATES // (most * (most + 1) * len(images)))
    lines = most if walkers > 1 or most == 1 else max(1, CANDIDATES // (most * len(images)))
    pairs, shifts = [], []
    for begin, low in itertools.product(range(0, len(counts), walkers), range(0, most, lines)):
        part = slice(begin, begin + walkers)
        i, j = low + torch.triu_indices(min(lines, most - low), most - low, device=device)  # each pair of atoms once
        places, vectors = positions[rows[part]], cells[part][:, axes]  # [b, most, 3] and [b, axes, 3]
        ways = places[:, j] - places[:, i]  # [b, pairs, 3]
        nearest = -(ways @ inverse[part]).round()  # [b, pairs, axes]
        ways = ways + nearest @ vectors
        steps = images @ vectors  # [b, images, 3]
        squares = ways.square().sum(-1)[..., None] + steps.square().sum(-1)[:, None] + 2.0 * ways @ steps.mT
        near = (squares < cutoff**2) & (j[None, :] < sizes[part][:, None])[..., None]
        walker, pair, image = near.nonzero().unbind(1)
        shift = torch.zeros((len(pair), 3), dtype=positions.dtype, device=device)
        shift[:, axes] = nearest[walker, pair] + images[image]
        i, j = i[pair], j[pair]
        forward = shift @ shift.new_tensor([1e8, 1e4, 1.0]) > 0.0  # of an atom's own images, every other one
        once = (i != j) | forward
        walker, i, j = walker[once] + begin, i[once], j[once]
        pairs.append(torch.stack([rows[walker, i], rows[walker, j]]))
        shifts.append(shift[once])
    return torch.cat(pairs, dim=1), torch.cat(shifts).T.contiguous()


def _images(cells: torch.Tensor, axes: list[int], cutoff: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The images around the nearest one to look at, [M, axes] and sorted; and what makes fractions of places of them.

    The nearest image, by rounded fractions, is within half a cell along each axis.
    """
    import torch

    inverse = torch.linalg.pinv(cells[:, axes]) if axes else cells.new_zeros((len(cells), 3, 0))  # [B, 3, axes]
    widths = to_host((1.0 / inverse.norm(dim=1)).amin(dim=0)).tolist()
    reach = [math.floor(cutoff / width + 0.5 + 1e-9) for width in widths]
    images = list(itertools.product(*(range(-most, most + 1) for most in reach)))
    return torch.tensor(images, dtype=cells.dtype, device=cells.device).reshape(len(images), len(axes)), inverse


def _in_angstrom(shifts: torch.Tensor, cells: torch.Tensor, system: torch.Tensor) -> torch.Tensor:
    """Shifts [3, E] of the cells [B, 3, 3] as vectors, [3, E]; `system` [E] says which cell."""
    import torch

    return torch.einsum("ae,eac->ce", shifts, cells.index_select(0, system)).contiguous()
