"""Any structure file that ASE reads, as extended XYZ on stdout: `python -m psiflow_cli.worker.structures.convert FILE`.

It also runs by its path (`python …/convert.py FILE`), in an environment that has ASE but not this package. Floats come
through bit for bit. Constraints and what extended XYZ has no place for (objects, blank texts) are left out.
Exit codes, each with one line on stderr: 65 for a file that cannot be read, 66 for none, 74 where stdout cannot be
written, 78 for an environment without ASE.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_OF_FRAME = ("energy", "free_energy", "stress", "dipole", "magmom")
_OF_ATOMS = ("forces", "magmoms", "charges")
_OURS = {"Lattice", "Properties", "pbc", "species", "pos", "symbols", "numbers", "positions"}


def main(arguments: list[str]) -> int:
    """Convert one file; returns the exit code."""
    if len(arguments) != 1:
        print("usage: python -m psiflow_cli.worker.structures.convert FILE", file=sys.stderr)
        return 2
    name = arguments[0]
    if not os.path.isfile(name) or not os.access(name, os.R_OK):
        # A folder too: ASE would take it for a bundle, which may hold pickles.
        print(f"{name}: cannot read: {'not a file' if os.path.exists(name) else 'no such file'}", file=sys.stderr)
        return 66
    if importlib.util.find_spec("ase") is None:
        print(f"{name}: cannot read: {sys.executable} has no ASE", file=sys.stderr)
        return 78
    return _convert(name)


class _Unreadable(Exception):
    """Why ASE, or what we ask of its frames, refuses the file."""


def _convert(name: str) -> int:
    output = sys.stdout
    warnings.simplefilter("ignore")
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # some of ASE's readers print
            for text in _texts(name):
                output.write(text)
            output.flush()
    except _Unreadable as error:
        print(f"{name}: cannot read as {error}", file=sys.stderr)
        return 65
    except OSError as error:
        print(f"{name}: cannot write its frames: {error.strerror}", file=sys.stderr)
        # what is left in the buffer would fail again at exit, and turn the exit code into 120
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 74
    return 0


def _texts(name: str) -> Iterator[str]:
    """The text of each frame; raises _Unreadable only."""
    path, kind, where, number = os.path.abspath(name), "any format of ASE", "", 0
    frame_text = _frame_text()
    try:
        from ase.io import iread
        from ase.io.formats import filetype

        kind = filetype(path)
        for atoms in iread(path, index=":", format=kind, do_not_split_by_at_sign=True):
            number += 1
            where = f" frame {number}:"
            yield frame_text(*_parts(atoms))
            where = ""
        if number == 0:
            raise ValueError("it holds no frames")
    except Exception as error:
        said = " ".join(str(error).split())[:300] or type(error).__name__
        raise _Unreadable(f"{kind}:{where} {said}") from error


def _frame_text() -> Any:
    """The writer in the file beside this one, whatever package of that name the environment may have."""
    spec = importlib.util.spec_from_file_location("extxyz_writer", Path(__file__).with_name("extxyz_writer.py"))
    if spec is None or spec.loader is None:
        raise ImportError("extxyz_writer.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.frame_text


def _parts(atoms: Any) -> tuple[Any, ...]:
    """What `frame_text` wants to know of a frame."""
    _check_occupancy(atoms.info.get("occupancy"))
    info = {str(key): plain for key, value in atoms.info.items() if (plain := _info(value)) is not None}
    columns = {key: plain for key, value in atoms.arrays.items() if (plain := _column(value)) is not None}
    results = {} if atoms.calc is None else atoms.calc.results
    for names, target in ((_OF_FRAME, info), (_OF_ATOMS, columns)):
        for key in names:
            if results.get(key) is not None:
                value = _result(key, results[key])
                if target.setdefault(key, value) != value:
                    raise ValueError(f"{key} has two different values")
    info = {key: value for key, value in info.items() if key not in _OURS}
    columns = {key: value for key, value in columns.items() if re.fullmatch(r"[\w.-]+", key) and key not in _OURS}
    cell = atoms.cell.tolist() if atoms.cell.any() else None
    return atoms.get_chemical_symbols(), atoms.positions.tolist(), cell, atoms.pbc.tolist(), info, columns


def _check_occupancy(sites: Any) -> None:
    """Refuse disorder: ASE keeps one of the atoms that share a site, and the frame would be of another substance."""
    if isinstance(sites, dict):
        for shares in sites.values():
            if len(shares) != 1 or abs(sum(shares.values()) - 1) > 1e-3:
                raise ValueError("sites with partial occupancy; choose an ordered structure")


def _info(value: Any) -> Any:
    """A scalar, a text or an array of numbers as builtins; None for anything else."""
    plain = value.tolist() if hasattr(value, "tolist") else value
    flat = plain
    while isinstance(flat, (list, tuple)):
        flat = flat[0] if flat else None
    return plain if isinstance(flat, (bool, int, float)) or (isinstance(plain, str) and plain) else None


def _column(value: Any) -> Any:
    """One or more numbers or flags, or a word, for each atom; None for anything else."""
    if value.ndim > 2 or not value.size or value.dtype.kind not in "biufU":
        return None
    if value.dtype.kind == "U" and not all(re.fullmatch(r"\S+", text) for text in value.ravel()):
        return None
    return value.tolist()


def _result(key: str, value: Any) -> Any:
    plain = value.tolist() if hasattr(value, "tolist") else value
    if key == "stress" and len(plain) == 6:
        xx, yy, zz, yz, xz, xy = plain
        return [xx, xy, xz, xy, yy, yz, xz, yz, zz]
    if key == "stress":
        return [x for row in plain for x in row]
    return plain


if __name__ == "__main__":
    if not __package__:
        sys.path.pop(0)  # this folder, whose names are no top-level modules
    sys.exit(main(sys.argv[1:]))
