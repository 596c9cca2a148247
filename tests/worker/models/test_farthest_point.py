"""Farthest-point choice, against the same by brute force."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy")

from psiflow_cli.worker.models.farthest_point import choose  # noqa: E402


def by_hand(points: Any, rows: list[int], number: int, before: list[int], closest: float) -> tuple[list[int], int]:
    """All distances at once."""
    picked: list[int] = []
    while len(picked) < number:
        left = [row for row in rows if row not in picked]
        others = [*before, *picked]
        if others:
            apart = {row: min(np.linalg.norm(points[row] - points[other]) for other in others) for row in left}
        else:
            mean = points[rows].mean(axis=0)
            apart = {row: 1e9 - np.linalg.norm(points[row] - mean) for row in left}
        best = max(left, key=lambda row: apart[row])
        if apart[best] < closest:
            return picked, len(left)
        picked.append(best)
    return picked, 0


@pytest.mark.parametrize("taken", [0, 5])
@pytest.mark.parametrize("closest", [0.0, 1.2])
def test_the_choice_is_that_of_all_distances(tmp_path: Path, taken: int, closest: float) -> None:
    points = np.random.default_rng(7).normal(size=(80, 6)).astype("<f4")
    path = tmp_path / "points.f32"
    path.write_bytes(points.tobytes())
    groups = [list(range(taken, 40)), list(range(40, 80))]
    found = choose(
        str(path), 6, taken, [{"rows": rows, "number": 12, "ranked": False} for rows in groups], closest
    )  # fmt: skip
    before = list(range(taken))
    for rows, group in zip(groups, found, strict=True):
        picked, near = by_hand(points.astype(float), rows, 12, before, closest)
        assert (group["chosen"], group["near"]) == (picked, near)
        before += picked


def test_ranked_rows_are_taken_as_they_come_unless_they_are_near(tmp_path: Path) -> None:
    points = np.array([[0.0], [0.4], [1.0], [1.3], [5.0], [5.2], [9.0]], dtype="<f4")
    path = tmp_path / "points.f32"
    path.write_bytes(points.tobytes())
    (found,) = choose(str(path), 1, 1, [{"rows": [3, 1, 2, 5, 4, 6], "number": None, "ranked": True}], 0.5)
    assert found == {"chosen": [3, 5, 6], "near": 3}
    (few,) = choose(str(path), 1, 1, [{"rows": [3, 1, 2, 5, 4, 6], "number": 2, "ranked": True}], 0.5)
    assert few == {"chosen": [3, 5], "near": 2}
