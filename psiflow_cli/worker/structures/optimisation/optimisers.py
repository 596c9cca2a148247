"""LBFGS and FIRE for many frames at once: each frame goes where ASE's optimiser of the same name takes it alone.

Coordinates and forces are rows of three, those of one frame after those of another. What is added up is added frame by
frame, so that not even the last digit of a frame depends on the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np

_MAX_STEP = 0.2  # Å, ASE's default, as are the other numbers below
_MEMORY, _CURVATURE = 100, 70.0  # steps; eV/Å²
_TIME, _LONGEST_TIME, _MIXING = 0.1, 1.0, 0.1
_WAIT, _FASTER, _SLOWER, _LESS_MIXING = 5, 1.1, 0.5, 0.99


class Rows:
    """Which rows belong to which of F frames, M rows in all."""

    def __init__(self, counts: Sequence[int]) -> None:
        import numpy as np

        self.counts = np.asarray(counts)
        self.frame = np.repeat(np.arange(len(counts)), self.counts)
        """The frame of each row, shape (M,)."""
        self._first = np.concatenate([[0], self.counts.cumsum()[:-1]])

    def dot(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """The scalar product of each frame's rows, shape (F,)."""
        import numpy as np

        product = a * b
        sums: np.ndarray = np.add.reduceat(product[:, 0] + product[:, 1] + product[:, 2], self._first)
        return sums

    def each(self, values: np.ndarray) -> np.ndarray:
        """A value of each frame as one of each of its rows, shape (M, 1)."""
        column: np.ndarray = values[self.frame][:, None]
        return column

    def longest(self, a: np.ndarray) -> np.ndarray:
        """The norm of each frame's longest row, shape (F,)."""
        import numpy as np

        squares = a * a
        norms: np.ndarray = np.sqrt(np.maximum.reduceat(squares[:, 0] + squares[:, 1] + squares[:, 2], self._first))
        return norms


class Optimiser(Protocol):
    """What `Lbfgs` and `Fire` have in common."""

    def step(self, x: np.ndarray, forces: np.ndarray, rows: Rows) -> np.ndarray:
        """By how much each row moves, shape (M, 3)."""

    def leave(self, frames: np.ndarray, rows: np.ndarray) -> None:
        """Forget the frames, and their rows, where these are False."""


class Lbfgs:
    """J. Nocedal, Math. Comput. 35, 773 (1980), without a line search."""

    def __init__(self) -> None:
        self._last: tuple[np.ndarray, np.ndarray] | None = None
        self._history: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # moves, changes of the gradient, 1/product

    def step(self, x: np.ndarray, forces: np.ndarray, rows: Rows) -> np.ndarray:
        """See `Optimiser`."""
        import numpy as np

        with np.errstate(divide="ignore", invalid="ignore"):  # what is no number then ends its frame
            if self._last is not None:
                move, change = x - self._last[0], self._last[1] - forces
                self._history.append((move, change, 1.0 / rows.dot(change, move)))
                del self._history[:-_MEMORY]
            self._last = x.copy(), forces.copy()
            gradient = -forces
            weights = []
            for move, change, inverse in reversed(self._history):
                weights.append(inverse * rows.dot(move, gradient))
                gradient -= rows.each(weights[-1]) * change
            step = gradient / _CURVATURE
            for (move, change, inverse), weight in zip(self._history, reversed(weights), strict=True):
                step += rows.each(weight - inverse * rows.dot(change, step)) * move
            longest = rows.longest(step)
            shorter: np.ndarray = -step * rows.each(np.where(longest >= _MAX_STEP, _MAX_STEP / longest, 1.0))
            return shorter

    def leave(self, frames: np.ndarray, rows: np.ndarray) -> None:
        """See `Optimiser`."""
        if self._last is not None:
            self._last = self._last[0][rows], self._last[1][rows]
        self._history = [(move[rows], change[rows], inverse[frames]) for move, change, inverse in self._history]


class Fire:
    """E. Bitzek et al., Phys. Rev. Lett. 97, 170201 (2006)."""

    def __init__(self) -> None:
        self._velocities: np.ndarray | None = None

    def step(self, x: np.ndarray, forces: np.ndarray, rows: Rows) -> np.ndarray:
        """See `Optimiser`."""
        import numpy as np

        if self._velocities is None:
            count = len(rows.counts)
            self._velocities, self._downhill = np.zeros_like(forces), np.zeros(count, dtype=int)
            self._time, self._mixing = np.full(count, _TIME), np.full(count, _MIXING)
        else:
            self._turn(forces, rows)
        self._velocities += rows.each(self._time) * forces
        step = rows.each(self._time) * self._velocities
        length = np.sqrt(rows.dot(step, step))
        with np.errstate(divide="ignore", invalid="ignore"):
            shorter: np.ndarray = step * rows.each(np.where(length > _MAX_STEP, _MAX_STEP / length, 1.0))
        return shorter

    def _turn(self, forces: np.ndarray, rows: Rows) -> None:
        """Turn the velocities towards the forces, or stop a frame that goes uphill."""
        import numpy as np

        velocities = self._velocities
        assert velocities is not None
        downhill = rows.dot(forces, velocities) > 0.0
        with np.errstate(divide="ignore", invalid="ignore"):
            pull = self._mixing * np.sqrt(rows.dot(velocities, velocities)) / np.sqrt(rows.dot(forces, forces))
        turned = rows.each(1.0 - self._mixing) * velocities + rows.each(np.where(downhill, pull, 0.0)) * forces
        self._velocities = np.where(rows.each(downhill), turned, 0.0)
        faster = downhill & (self._downhill > _WAIT)
        self._time = np.where(faster, np.minimum(self._time * _FASTER, _LONGEST_TIME), self._time)
        self._time = np.where(downhill, self._time, self._time * _SLOWER)
        self._mixing = np.where(downhill, np.where(faster, self._mixing * _LESS_MIXING, self._mixing), _MIXING)
        self._downhill = np.where(downhill, self._downhill + 1, 0)

    def leave(self, frames: np.ndarray, rows: np.ndarray) -> None:
        """See `Optimiser`."""
        if self._velocities is not None:
            self._velocities, self._downhill = self._velocities[rows], self._downhill[frames]
            self._time, self._mixing = self._time[frames], self._mixing[frames]
