"""Frames of extended XYZ in a format that ASE writes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from psiflow_cli import extxyz, voigt
from psiflow_cli.worker.formats import constraints
from psiflow_cli.worker.formats.carried import COLUMNS, OF_ATOMS, OF_FRAME

if TYPE_CHECKING:
    from ase import Atoms

_IN_TRAJ = ("numbers", "positions", "tags", "momenta", "masses", "initial_magmoms", "initial_charges")
"""The columns that .traj has a place for; others go to `info`."""
_TYPES = {"R": float, "I": int, "L": bool, "S": str}


class _Frames:
    """The frames of a file, read again whenever they are asked for: some of ASE's writers look at the first one twice.

    The file may be empty.
    """

    def __init__(self, source: str) -> None:
        self.source = source

    def __iter__(self) -> Iterator[Atoms]:
        return map(to_ase, extxyz.read(self.source) if os.path.getsize(self.source) else ())

    def __getitem__(self, index: int) -> Atoms:
        return next(islice(iter(self), index, None))


def to_ase(frame: extxyz.Frame) -> Atoms:
    """The frame with all its values: labels as the results of a calculator, `move_mask` as constraints."""
    import numpy as np
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator

    atoms = Atoms(frame.symbols, frame.positions, cell=frame.cell, pbc=frame.pbc)
    results: dict[str, Any] = {}
    for key, value in frame.info.items():
        if key in OF_FRAME:
            results[key] = _result(key, value)
        else:
            atoms.info[key] = np.array(value) if _is_regular(value) else value
    for name, kind, _ in frame.properties:
        if name in ("species", "pos", "Z"):
            continue
        column: np.ndarray = np.array(frame.column(name), dtype=_TYPES[kind])
        if name == "move_mask":
            atoms.set_constraint(constraints.holding(column.reshape(len(atoms), -1)))
        elif name in OF_ATOMS:
            results[name] = column
        else:
            atoms.set_array(name, column)
    if results:
        atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def _result(key: str, value: Any) -> Any:
    import numpy as np

    if key == "stress":
        matrix = np.array(value, dtype=float).reshape(3, 3)
        return np.array(voigt.from_matrix(matrix.tolist())) if np.array_equal(matrix, matrix.T) else matrix
    return np.array(value, dtype=float) if isinstance(value, list) else float(value)


def _is_regular(value: object) -> bool:
    """A list that is as good as an array: of numbers or flags."""
    return isinstance(value, list) and bool(value) and all(isinstance(x, (bool, int, float)) for x in value)


def rewrite(source: str, kind: str, path: str) -> None:
    """Write frames of extended XYZ in the format that ASE calls `kind`; raises what ASE raises."""
    frames = _Frames(source)
    if kind == "traj" or os.path.getsize(source):
        _WRITERS.get(kind, _plain)(frames, kind, path)
    else:
        open(path, "wb").close()


def _traj(frames: _Frames, kind: str, path: str) -> None:
    from ase.io.trajectory import Trajectory

    with Trajectory(path, "w") as trajectory:
        for atoms in frames:
            if others := [name for name in atoms.arrays if name not in _IN_TRAJ]:
                values = {name: atoms.arrays[name] for name in others}
                atoms.info[COLUMNS] = {k: v if v.dtype.kind in "if" else v.tolist() for k, v in values.items()}
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


def _poscar(frames: _Frames, kind: str, path: str) -> None:
    first, *more = frames
    if more:
        raise ValueError("a POSCAR holds one frame")
    first.write(path, format=kind)


def _xdatcar(frames: _Frames, kind: str, path: str) -> None:
    if any(atoms.cell.rank < 3 for atoms in frames):
        raise ValueError("XDATCAR has positions relative to a cell, but a frame has no cell")
    _plain(frames, kind, path)


_WRITERS = {"traj": _traj, "proteindatabank": _pdb, "vasp-xdatcar": _xdatcar, "vasp": _poscar}
