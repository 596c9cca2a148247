"""What of ASE's Atoms a frame of extended XYZ carries, by one rule for every format, and what it does not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from psiflow_cli import extxyz
from psiflow_cli.errors import counted
from psiflow_cli.worker.formats import constraints

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms

_T = TypeVar("_T")
_Column = tuple[str, list[Any]]  # kind R, I, L or S, and a value or a list of values for each atom

OF_FRAME = ("energy", "free_energy", "stress", "dipole", "magmom")
OF_ATOMS = ("forces", "magmoms", "charges", "energies", "stresses")
COLUMNS = "psiflow_columns"
"""In the `info` of a .traj file that psiflow wrote: the columns for which that format has no place, by name."""
_OURS = {"Lattice", "Properties", "pbc", "species", "pos", "symbols", "numbers", "positions"}
_KINDS = {"b": "L", "u": "I", "i": "I", "f": "R", "U": "S"}
# What ASE derives from the coordinates, or has checked with them.
_DERIVED = {"spacegroup", "occupancy", "numbers", "positions", COLUMNS}
_FREE_ENERGY_IS_ENERGY = 1e-6  # eV


class Carrier:
    """Writes frames, and counts what they lose on the way."""

    def __init__(self) -> None:
        self.frames = 0
        self.remarks: list[str] = []
        self._lost: Counter[str] = Counter()
        self._differ = 0  # frames whose free energy is not their energy
        self._most = 0.0  # by so many eV per atom

    def text(self, atoms: Atoms, lost: Iterable[str] = ()) -> str:
        """A frame with its labels; raises ValueError for what is no structure of whole atoms, or contradicts itself."""
        self.frames += 1
        names = set(lost)
        _check_atoms(atoms)
        info, columns = self._values(atoms, names)
        self._compare(info, len(atoms))
        self._lost.update(names)
        cell = atoms.cell.tolist() if atoms.cell.any() else None
        return extxyz.new_frame(list(atoms.symbols), atoms.positions.tolist(), cell, atoms.pbc.tolist(), info, columns)

    def notes(self) -> Iterator[str]:
        """What was not carried, and what is to be known of the labels: one line each."""
        if self._lost:
            names = ", ".join(sorted(self._lost))
            yield f"not carried over: {names} (in {max(self._lost.values())} of {counted(self.frames, 'frame')})"
        if self._differ:
            yield (
                f"free_energy, which the forces belong to, differs from energy in {counted(self._differ, 'frame')}, "
                f"by up to {1000 * self._most:.3g} meV/atom; use --keys energy=free_energy to take it as the label"
            )
        yield from self.remarks

    def _values(self, atoms: Atoms, lost: set[str]) -> tuple[dict[str, object], dict[str, _Column]]:
        info: dict[str, object] = {}
        columns: dict[str, _Column] = {}
        for key, value in _named(atoms.info):
            if (plain := _info(value)) is None or key in _OURS:
                lost |= {key} - _DERIVED
            else:
                info[key] = plain
        moved = {key: _array(value) for key, value in atoms.info.get(COLUMNS, {}).items()}
        for key, array in {**atoms.arrays, **moved}.items():
            column = _column(array)
            if column is None or key in _OURS or not re.fullmatch(r"[\w.-]+", key):
                lost |= {key} - _DERIVED
            else:
                columns[key] = column
        results = {} if atoms.calc is None else atoms.calc.results
        for key, value in results.items():
            if value is None:
                continue
            if key in OF_FRAME and (plain := _result(key, value)) is not None:
                _add(info, key, plain)
            elif key in OF_ATOMS and (column := _column(_array(value))) is not None:
                _add(columns, key, column)
            else:
                lost.add(key)
        mask, others = constraints.from_atoms(atoms)
        if mask:
            columns["move_mask"] = ("L", mask)
        if others:
            info[constraints.OTHERS] = " ".join(others)
        return info, columns

    def _compare(self, info: dict[str, object], natoms: int) -> None:
        energy, free = info.get("energy"), info.get("free_energy")
        if isinstance(energy, float) and isinstance(free, float) and abs(free - energy) > _FREE_ENERGY_IS_ENERGY:
            self._differ += 1
            self._most = max(self._most, abs(free - energy) / natoms)


def _named(info: dict[Any, Any]) -> Iterator[tuple[str, object]]:
    """The values of a frame; those that ASE's databases hold one level deeper come to the top."""
    for key, value in info.items():
        if key in ("key_value_pairs", "data") and isinstance(value, dict):
            yield from ((str(inner), each) for inner, each in value.items() if inner not in info)
        else:
            yield str(key), value


def _check_atoms(atoms: Atoms) -> None:
    """Refuse dummies, and disorder: ASE keeps one of the atoms that share a site, of another substance then."""
    import numpy as np

    if dummies := np.flatnonzero(atoms.numbers == 0).tolist():
        raise ValueError(f"atom {dummies[0] + 1} has no element (X); remove dummies and ghosts")
    sites = atoms.info.get("occupancy")
    shares = list(sites.values()) if isinstance(sites, dict) else []
    column = atoms.arrays.get("occupancy", np.ones(len(atoms)))
    # programs that know no occupancies write 0 or 1 into that column of a PDB file
    if any(len(share) != 1 or abs(sum(share.values()) - 1) > 1e-3 for share in shares) or (
        column.dtype.kind == "f" and ((column > 1e-3) & (column < 1 - 1e-3)).any()
    ):
        raise ValueError("it has sites with partial occupancy; use an ordered structure")


def _add(values: dict[str, _T], key: str, result: _T) -> None:
    """Add a calculator's result to the values of the frame; raises ValueError where it has another of that name."""
    if values.setdefault(key, result) != result:
        raise ValueError(f"{key} has two different values")


def _plain(value: Any) -> Any:
    """Builtins in place of numpy's types."""
    return value.tolist() if hasattr(value, "tolist") else value


def _array(value: object) -> np.ndarray:
    import numpy as np

    return np.asarray(value)


def _info(value: object) -> object:
    """A scalar, a text or an array of numbers as builtins; None for anything else."""
    flat = plain = _plain(value)
    while isinstance(flat, (list, tuple)):
        flat = flat[0] if flat else None
    return plain if isinstance(flat, (bool, int, float, str)) and plain != "" else None


def _column(value: np.ndarray) -> _Column | None:
    """One or more numbers or flags, or a word, for each atom; None for anything else."""
    if value.ndim not in (1, 2) or not value.size or value.dtype.kind not in _KINDS:
        return None
    if value.dtype.kind == "U" and not all(re.fullmatch(r"\S+", text) for text in value.ravel()):
        return None
    return _KINDS[value.dtype.kind], value.tolist()


def _result(key: str, value: object) -> object:
    plain = _plain(value)
    if key == "stress":
        return _array(_matrix(plain)).ravel().tolist()
    return float(plain) if isinstance(plain, (int, float)) else plain


def _matrix(plain: Any) -> Any:
    from psiflow_cli import voigt

    return voigt.to_matrix(plain) if len(plain) == 6 else plain
