"""The numbers of a path in blocks of frames, mapped from its file; positions unwrapped, velocities in Å/fs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psiflow_cli.extxyz.velocities import FEMTOSECOND

if TYPE_CHECKING:
    import numpy as np

    from psiflow_cli.messages import AnalysedPath

_CHUNK = 64 * 2**20  # bytes of one quantity of some atoms in all frames of a block
FAR = 0.35  # of a cell: an atom that has gone farther between two frames may have gone the other way round


@dataclass
class Block:
    """Some frames of a path, one after another."""

    path: AnalysedPath
    rows: np.ndarray  # [frames, width], mapped

    @property
    def count(self) -> int:
        """The number of atoms."""
        return len(self.path["symbols"])

    def cells(self) -> np.ndarray:
        """[frames, 3, 3] in Å."""
        end = self.rows.shape[1] - len(self.path["series"])
        cells: np.ndarray = self.rows[:, end - 9 : end].reshape(-1, 3, 3)
        return cells

    def series(self, name: str) -> np.ndarray:
        """[frames]; NaN where a frame does not have it."""
        values: np.ndarray = self.rows[:, self.path["series"].index(name) - len(self.path["series"])]
        return values

    def masses(self) -> np.ndarray:
        """[atoms] in u."""
        import numpy as np
        from ase.data import atomic_masses, atomic_numbers

        own = self.path["masses"]
        return np.array(own if own else [atomic_masses[atomic_numbers[s]] for s in self.path["symbols"]])

    def positions(self, frame: int) -> np.ndarray:
        """[atoms, 3] in Å."""
        positions: np.ndarray = self.rows[frame, : 3 * self.count].reshape(3, -1).T
        return positions

    def _vectors(self, first: int, atoms: slice) -> np.ndarray:
        """[frames, some atoms, 3] of the numbers that begin at a column."""
        import numpy as np

        count = self.count
        parts = [self.rows[:, first + k * count + atoms.start : first + k * count + atoms.stop] for k in range(3)]
        return np.stack(parts, axis=2)

    def chunks(self) -> Iterator[slice]:
        """As many atoms as are held in memory at once."""
        size = max(1, _CHUNK // (24 * len(self.rows)))
        for start in range(0, self.count, size):
            yield slice(start, min(self.count, start + size))

    def displacements(self, atoms: slice) -> tuple[np.ndarray, float]:
        """How far atoms have gone since the first frame ([frames, atoms, 3] in Å), and the longest way in cells.

        Each step is the shortest one to an image, in fractions of the cell, times the mean of the two cells: where the
        cell breathes, the atoms' motion relative to it is what counts.
        """
        import numpy as np
        from ase.geometry import complete_cell

        cells, pbc = self.cells(), np.array(self.path["pbc"])
        places = self._vectors(0, atoms)
        if not pbc.any():
            return places - places[0], 0.0
        whole = np.array([complete_cell(cell) for cell in cells]) if not cells.any(axis=2).all() else cells
        steps = np.diff(np.einsum("tai,tij->taj", places, np.linalg.inv(whole)), axis=0)
        steps[:, :, pbc] -= np.round(steps[:, :, pbc])
        far = float(np.abs(steps[:, :, pbc]).max(initial=0.0))
        moved = np.zeros_like(places)
        np.cumsum(np.einsum("tai,tij->taj", steps, 0.5 * (whole[1:] + whole[:-1])), axis=0, out=moved[1:])
        return moved, far

    def velocities(self, atoms: slice, interval: float) -> np.ndarray:
        """[frames, atoms, 3] in Å/fs: the frames' own or, two frames fewer, from the positions around each frame."""
        import numpy as np

        if not self.path["velocities"]:
            moved, _ = self.displacements(atoms)
            return np.asarray((moved[2:] - moved[:-2]) / (2.0 * interval))
        values = self._vectors(3 * self.count, atoms) * FEMTOSECOND
        if self.path["velocities"] == "momenta":
            values /= self.masses()[None, atoms, None]
        return values

    def without_drift(self, quantity: str, interval: float = 1.0) -> Iterator[tuple[slice, np.ndarray]]:
        """`displacements` or `velocities` of all atoms in chunks, relative to those of the centre of mass."""

        def read(atoms: slice) -> np.ndarray:
            return self.velocities(atoms, interval) if quantity == "velocities" else self.displacements(atoms)[0]

        masses = self.masses()
        if self.path["keeps_drift"] or self.count == 1:
            for atoms in self.chunks():
                yield atoms, read(atoms)
            return
        parts = list(self.chunks())
        first = read(parts[0]) if len(parts) == 1 else None
        drift = sum(
            (masses[None, atoms, None] * (read(atoms) if first is None else first)).sum(axis=1) for atoms in parts
        )
        for atoms in parts:
            yield atoms, (read(atoms) if first is None else first) - (drift / masses.sum())[:, None]


def blocks(paths: list[AnalysedPath], count: int) -> list[Block]:
    """All paths cut into at least so many blocks of equally many frames, as long as can be; fewer where frames are."""
    import numpy as np

    lengths = [path["frames"] for path in paths]
    count = min(count, sum(lengths))
    low, high = 1, max(lengths)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if sum(n // middle for n in lengths) >= count else (low, middle - 1)
    cut = []
    for path in paths:
        rows = np.memmap(path["source"], dtype="<f8", mode="r").reshape(path["frames"], -1)
        first = path["frames"] % low  # what is left over is of the beginning
        cut += [Block(path, rows[at : at + low]) for at in range(first, path["frames"], low)]
    return cut
