"""The pairs of the batched engine are those of ASE, and those of a list that was made this moment."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
np = pytest.importorskip("numpy")

from ase.geometry import complete_cell  # noqa: E402
from ase.neighborlist import primitive_neighbor_list  # noqa: E402

from psiflow_cli.samplers.torchsim import neighbours  # noqa: E402
from psiflow_cli.samplers.torchsim.neighbours import NeighbourList, candidates  # noqa: E402


def both_ways(index: Any, shifts: Any) -> Any:
    """Sorted rows (first, second, shift) of pairs that are given in one direction."""
    there = torch.cat([index, shifts.long()]).T.numpy()
    rows = np.concatenate([there, np.column_stack([there[:, 1], there[:, 0], -there[:, 2:]])])
    return rows[np.lexsort(rows.T[::-1])]


def by_ase(positions: list[Any], cells: list[Any], pbc: list[bool], cutoff: float) -> Any:
    parts, begin = [], 0
    for places, cell in zip(positions, cells, strict=True):
        first, second, shift = primitive_neighbor_list("ijS", pbc, complete_cell(cell), places, cutoff)
        parts.append(np.column_stack([first + begin, second + begin, shift]))
        begin += len(places)
    rows = np.concatenate(parts)
    return rows[np.lexsort(rows.T[::-1])]


@pytest.mark.parametrize("pbc", [[True] * 3, [True, True, False], [False, True, False], [False] * 3])
def test_pairs_are_those_of_ase(pbc: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    """In small and skewed cells, for atoms far outside, for one atom, for walkers of several sizes, in any pieces."""
    rng = np.random.default_rng(5)
    found, span = 0, 20.0 if any(pbc) else 4.0
    for trial in range(8):
        monkeypatch.setattr(neighbours, "CANDIDATES", (10, 4_000_000)[trial % 2])
        cells = [np.diag(rng.uniform(2.5, 9.0, 3)) + rng.normal(0.0, 0.8, (3, 3)) for _ in range(3)]
        if trial % 4 > 1:
            cells = [np.where(np.array(pbc)[:, None], cell, 0.0) for cell in cells]
        places = [rng.uniform(-span, span, (int(rng.integers(1, 9)), 3)) for _ in cells]
        cutoff = float(rng.uniform(3.0, 7.0))
        index, shifts = candidates(
            torch.tensor(np.concatenate(places)), torch.tensor(np.array(cells)), list(map(len, places)), pbc, cutoff
        )
        expected = by_ase(places, cells, pbc, cutoff)
        assert np.array_equal(both_ways(index, shifts), expected)
        order = np.lexsort(torch.cat([index, shifts.long()]).numpy()[::-1])
        assert (order == np.arange(len(order))).all()
        found += len(expected)
    assert found > 10


@pytest.mark.parametrize("cells_move", [False, True])
def test_a_list_with_a_skin_gives_what_a_new_one_would(cells_move: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the bit and in the same order, along paths that are much longer than the skin."""
    rng = np.random.default_rng(6)
    counts, pbc, cutoff = [7, 12], [True] * 3, 4.0
    cells = torch.tensor(np.array([np.diag([5.0, 6.0, 7.0]), [[6.0, 0, 0], [2.0, 7.0, 0], [0, 1.0, 5.0]]]))
    positions = torch.tensor(rng.uniform(-9.0, 9.0, (sum(counts), 3)))
    system = torch.tensor([0] * 7 + [1] * 12)
    made: list[int] = []
    real = neighbours.candidates
    monkeypatch.setattr(neighbours, "candidates", lambda *arguments: made.append(1) or real(*arguments))
    reused = NeighbourList(counts, pbc, cutoff, cells_move)
    for _ in range(60):
        if cells_move:
            change = torch.eye(3, dtype=torch.float64) + 0.004 * torch.tensor(rng.normal(size=(2, 3, 3)))
            cells, positions = cells @ change, torch.bmm(positions[:, None], change[system])[:, 0]
        positions = positions + 0.03 * torch.tensor(rng.normal(size=positions.shape))
        old = reused.pairs(positions, cells, system)
        lists = len(made)
        new = NeighbourList(counts, pbc, cutoff, cells_move).pairs(positions, cells, system)
        del made[lists:]
        assert torch.equal(old.index, new.index)
        assert torch.equal(old.shifts, new.shifts)
        assert torch.equal(old.squares, new.squares) or (cells_move and torch.allclose(old.squares, new.squares))
    assert 1 < len(made) < 40


def test_a_fixed_number_of_pairs_begins_with_those_within_the_cutoff() -> None:
    """The others are beyond it; whether the list has lasted, and the room sufficed, is known later."""
    rng = np.random.default_rng(8)
    cells, system = torch.eye(3, dtype=torch.float64)[None] * 7.0, torch.zeros(20, dtype=torch.long)
    positions, told = torch.tensor(rng.uniform(0.0, 7.0, (20, 3))), []
    fixed = NeighbourList([20], [True] * 3, 4.0, False)
    fixed.exact = False
    sizes = set()
    for _ in range(40):
        positions = positions + 0.02 * torch.tensor(rng.normal(size=positions.shape))
        pairs = fixed.pairs(positions, cells, system)
        exact = NeighbourList([20], [True] * 3, 4.0, False).pairs(positions, cells, system)
        used, filled = fixed.worn.tolist()
        told.append(fixed.held(used, filled))
        if told[-1]:
            count = exact.squares.numel()
            assert torch.equal(pairs.index[:, :count], exact.index)
            assert torch.equal(pairs.shifts[:, :count], exact.shifts)
            assert (pairs.squares[count:] >= 16.0).all()
            sizes.add(len(pairs.squares) - count)
    assert sum(told) > 35
    assert len(sizes) > 3
    fixed.pairs(positions, cells, system)
    fixed.pairs(positions + torch.tensor([0.0, 0.0, 0.36]), cells, system)
    assert not fixed.held(*fixed.worn.tolist())


def test_more_pairs_than_there_is_room_for_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_FEW", 0)
    crowd, system = NeighbourList([3], [False] * 3, 4.0, False), torch.zeros(3, dtype=torch.long)
    crowd.exact = False
    for third in (5.1, 4.95):
        places = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [third, 0.0, 0.0]], dtype=torch.float64)
        assert len(crowd.pairs(places, torch.zeros((1, 3, 3), dtype=torch.float64), system).squares) == 1
    used, filled = crowd.worn.tolist()
    assert used < 1.0 < filled
    assert not crowd.held(used, filled)


def test_atoms_that_are_no_numbers_have_no_pairs() -> None:
    """They are a walker's end, and not an error of the list."""
    positions = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [float("nan"), 0.0, 0.0]], dtype=torch.float64)
    cells = torch.eye(3, dtype=torch.float64)[None] * 20.0
    for pbc in ([True] * 3, [False] * 3):
        pairs = NeighbourList([3], pbc, 4.0, False).pairs(positions, cells, torch.zeros(3, dtype=torch.long))
        assert pairs.index.tolist() == [[0], [1]]
