"""A trajectory in another format that ASE writes, one frame after another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from psiflow_cli.errors import BAD_DATA
from psiflow_cli.worker.failures import Fatal

if TYPE_CHECKING:
    from ase import Atoms


class _Frames:
    """The frames of a file, read again whenever they are asked for: some of ASE's writers look at the first one twice.

    The file may be empty. No calculator is attached: what a model predicted must not be taken for a label by whoever
    reads the file.
    """

    def __init__(self, source: str) -> None:
        self.source = source

    def __iter__(self) -> Iterator[Atoms]:
        from ase.io import iread

        if os.path.getsize(self.source):
            yield from iread(self.source, index=":", format="extxyz")

    def __getitem__(self, index: int) -> Atoms:
        from itertools import islice

        return next(islice(iter(self), index, None))


def rewrite(source: str, kind: str, path: str) -> None:
    """*worker*: write frames of extended XYZ in the format that ASE calls `kind`. Raises Fatal if it holds no such."""
    frames = _Frames(source)
    try:
        if kind == "traj" or os.path.getsize(source):
            _WRITERS.get(kind, _plain)(frames, kind, path)
        else:
            open(path, "wb").close()
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        problem = f"these frames cannot be written as {kind}: {reason}"
        raise Fatal(problem, "extended XYZ (.xyz) holds any", BAD_DATA) from None


def _traj(frames: _Frames, kind: str, path: str) -> None:
    from ase.io.trajectory import Trajectory

    with Trajectory(path, "w") as trajectory:
        for atoms in frames:
            trajectory.write(atoms)


def _pdb(frames: _Frames, kind: str, path: str) -> None:
    first = frames[0].get_chemical_symbols()
    if any(atoms.get_chemical_symbols() != first for atoms in frames):
        raise ValueError("all frames of a PDB file must have the same atoms")
    _plain(frames, kind, path)


def _plain(frames: _Frames, kind: str, path: str) -> None:
    from ase.io.formats import ioformats

    form = ioformats[kind]
    with open(path, "wb" if form.isbinary else "w") as stream:
        form.write(stream, frames)


def _xdatcar(frames: _Frames, kind: str, path: str) -> None:
    if any(atoms.cell.rank < 3 for atoms in frames):
        raise ValueError("XDATCAR has places relative to a cell, and a frame has none")
    _plain(frames, kind, path)


_WRITERS = {"traj": _traj, "proteindatabank": _pdb, "vasp-xdatcar": _xdatcar}
