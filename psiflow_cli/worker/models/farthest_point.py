"""Structures that are far from each other, and from those that are there already, in a space of features.

The features are rows of a file of little-endian float32, which is mapped and never loaded as a whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    import numpy as np


_ROWS = 4096
"""So many rows are looked at together: some MB."""


class Group(TypedDict):
    """Candidates."""

    rows: list[int]
    number: int | None
    """How many to choose; None: as many as there are."""
    ranked: bool
    """Whether they are taken as they come."""


class Choice(TypedDict):
    """What was chosen of a group."""

    chosen: list[int]
    """Rows."""
    near: int
    """How many were passed over."""


def choose(path: str, width: int, taken: int, groups: list[Group], closest: float) -> list[Choice]:
    """Choose rows of each group in turn; the first `taken` rows of the file are there already.

    Of a group that is not ranked, one after another, the row farthest from all that were taken or chosen before (at the
    beginning the one nearest to the mean of the group; of equals the first): Gonzalez, Theor. Comput. Sci. 38, 293
    (1985). Rows nearer than `closest` to one taken or chosen before are passed over.
    """
    import numpy as np

    features = np.memmap(path, dtype="<f4", mode="r").reshape(-1, width)
    chosen: list[int] = []
    choices: list[Choice] = []
    for group in groups:
        rows = np.array(group["rows"], dtype=np.int64)
        pick = _in_order if group["ranked"] else _far
        picked, near = pick(features, rows, _limit(group, rows), closest, taken, chosen)
        chosen += picked
        choices.append({"chosen": picked, "near": near})
    return choices


def _limit(group: Group, rows: np.ndarray) -> int:
    return len(rows) if group["number"] is None else min(group["number"], len(rows))


def _far(
    features: np.ndarray, rows: np.ndarray, number: int, closest: float, taken: int, before: list[int]
) -> tuple[list[int], int]:
    import numpy as np

    apart = np.full(len(rows), np.inf, dtype=np.float32)  # squares of distances
    for other in (*range(taken), *before):
        _nearer(apart, features, rows, other)
    picked: list[int] = []
    while len(picked) < number:
        at = _central(features, rows) if not (taken or before or picked) else int(apart.argmax())
        if apart[at] < closest**2:
            return picked, int((apart >= 0).sum())
        picked.append(int(rows[at]))
        _nearer(apart, features, rows, picked[-1])
        apart[at] = -1.0  # never again, even among equals
    return picked, 0


def _in_order(
    features: np.ndarray, rows: np.ndarray, number: int, closest: float, taken: int, before: list[int]
) -> tuple[list[int], int]:
    others = [features[:taken], features[sorted(before)]]
    picked: list[int] = []
    near = 0
    for row in rows:
        if len(picked) == number:
            break
        candidate = features[row]
        if any(_within(part, candidate, closest) for part in (*others, features[picked])):
            near += 1
        else:
            picked.append(int(row))
    return picked, near


def _within(some: np.ndarray, candidate: np.ndarray, closest: float) -> bool:
    return any(
        bool((((some[at : at + _ROWS] - candidate) ** 2).sum(axis=1) < closest**2).any())
        for at in range(0, len(some), _ROWS)
    )


def _nearer(apart: np.ndarray, features: np.ndarray, rows: np.ndarray, other: int) -> None:
    """Lower the squared distances of the rows to what they are from one more row."""
    import numpy as np

    origin = np.array(features[other])
    for at in range(0, len(rows), _ROWS):
        part = features[rows[at : at + _ROWS]]
        np.minimum(apart[at : at + _ROWS], ((part - origin) ** 2).sum(axis=1), out=apart[at : at + _ROWS])


def _central(features: np.ndarray, rows: np.ndarray) -> int:
    """Where the row nearest to the mean stands."""
    import numpy as np

    blocks = [rows[at : at + _ROWS] for at in range(0, len(rows), _ROWS)]
    mean = sum(features[block].sum(axis=0, dtype=np.float64) for block in blocks) / len(rows)
    distances = [((features[block] - mean) ** 2).sum(axis=1) for block in blocks]
    return int(np.concatenate(distances).argmin())
