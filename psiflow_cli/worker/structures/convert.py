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
import json
import os
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms

_T = TypeVar("_T")
Rows = Sequence[Sequence[float]]

_OF_FRAME = ("energy", "free_energy", "stress", "dipole", "magmom")
_OF_ATOMS = ("forces", "magmoms", "charges")
_BARE = re.compile(r"""[^\s"'=\\{}\[\],]+""")
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
    try:
        from ase.io import iread
        from ase.io.formats import filetype

        kind = filetype(path)
        for atoms in iread(path, index=":", format=kind, do_not_split_by_at_sign=True):
            number += 1
            where = f" frame {number}:"
            yield _text(atoms)
            where = ""
        if number == 0:
            raise ValueError("it holds no frames")
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise _Unreadable(f"{kind}:{where} {reason}") from error


def _text(atoms: Atoms) -> str:
    """The text of a frame with its labels."""
    _check_occupancy(atoms.info.get("occupancy"))
    info: dict[str, object]
    info = {str(key): plain for key, value in atoms.info.items() if (plain := _info(value)) is not None}
    columns = {key: plain for key, value in atoms.arrays.items() if (plain := _column(value)) is not None}
    results = {} if atoms.calc is None else atoms.calc.results
    _add_results(info, {key: _result(key, results[key]) for key in _OF_FRAME if results.get(key) is not None})
    _add_results(columns, {key: _plain(results[key]) for key in _OF_ATOMS if results.get(key) is not None})
    info = {key: value for key, value in info.items() if key not in _OURS}
    columns = {key: value for key, value in columns.items() if re.fullmatch(r"[\w.-]+", key) and key not in _OURS}
    cell = atoms.cell.tolist() if atoms.cell.any() else None
    return frame_text(list(atoms.symbols), atoms.positions.tolist(), cell, atoms.pbc.tolist(), info, columns)


def _add_results(values: dict[str, _T], results: dict[str, _T]) -> None:
    """Add a calculator's results to the values of the frame; raises ValueError where it has others of that name."""
    for key, result in results.items():
        if values.setdefault(key, result) != result:
            raise ValueError(f"{key} has two different values")


def _check_occupancy(sites: object) -> None:
    """Refuse disorder: ASE keeps one of the atoms that share a site, and the frame would be of another substance."""
    if isinstance(sites, dict):
        for shares in sites.values():
            if len(shares) != 1 or abs(sum(shares.values()) - 1) > 1e-3:
                raise ValueError("sites with partial occupancy; choose an ordered structure")


def _plain(value: Any) -> Any:
    """Builtins in place of numpy's types."""
    return value.tolist() if hasattr(value, "tolist") else value


def _info(value: object) -> object:
    """A scalar, a text or an array of numbers as builtins; None for anything else."""
    flat = plain = _plain(value)
    while isinstance(flat, (list, tuple)):
        flat = flat[0] if flat else None
    return plain if isinstance(flat, (bool, int, float)) or (isinstance(plain, str) and plain) else None


def _column(value: np.ndarray) -> list[object] | None:
    """One or more numbers or flags, or a word, for each atom; None for anything else."""
    if value.ndim > 2 or not value.size or value.dtype.kind not in "biufU":
        return None
    if value.dtype.kind == "U" and not all(re.fullmatch(r"\S+", text) for text in value.ravel()):
        return None
    values: list[object] = value.tolist()
    return values


def _result(key: str, value: object) -> object:
    plain = _plain(value)
    if key != "stress" or not isinstance(plain, (list, tuple)):
        return plain
    if len(plain) == 6:
        xx, yy, zz, yz, xz, xy = plain
        return [xx, xy, xz, xy, yy, yz, xz, yz, zz]
    return [x for row in plain for x in row]


def frame_text(
    symbols: Sequence[str], positions: Rows, cell: Rows | None, pbc: Sequence[bool], info: Mapping[str, object],
    columns: Mapping[str, Sequence[object]] | None = None,
) -> str:  # fmt: skip
    """One frame; positions in Å, `cell` three rows in Å or None, `info` in the order given.

    `info` holds builtins: scalars, flat lists, and nested lists (written as JSON). `columns` holds one value or one
    list of equal length for each atom; its values are all int, all float, all bool, or all words without blanks.
    """
    named = list((columns or {}).items())
    header = [] if cell is None else ['Lattice="' + " ".join(_scalar(float(x)) for row in cell for x in row) + '"']
    header.append("Properties=species:S:1:pos:R:3" + "".join(_declare(name, values) for name, values in named))
    header += [f"{_quoted(key)}={_value(value)}" for key, value in info.items()]
    header.append('pbc="' + " ".join("T" if flag else "F" for flag in pbc) + '"')
    lines = [str(len(symbols)), " ".join(header)]
    for index, (symbol, (x, y, z)) in enumerate(zip(symbols, positions, strict=True)):
        line = f"{symbol} {float(x)!r} {float(y)!r} {float(z)!r}"
        for _, values in named:
            line += " " + " ".join(_scalar(v) for v in _row(values[index]))
        lines.append(line)
    return "\n".join(lines) + "\n"


def _row(value: object) -> Sequence[object]:
    return value if isinstance(value, (list, tuple)) else (value,)


def _declare(name: str, values: Sequence[object]) -> str:
    first = _row(values[0]) if values else ()
    kinds: dict[type, str] = {bool: "L", int: "I", float: "R", str: "S"}
    return f":{name}:{kinds[type(first[0])]}:{len(first)}" if first else f":{name}:R:1"


def _scalar(value: object) -> str:
    if isinstance(value, bool):
        return "T" if value else "F"
    return value if isinstance(value, str) else repr(value)


def _value(value: object) -> str:
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, (list, tuple)):
        if all(isinstance(v, (bool, int, float)) for v in value):
            return '"' + " ".join(_scalar(v) for v in value) + '"'
        return _quoted("_JSON " + json.dumps(value))
    return _scalar(value)


def _quoted(text: str) -> str:
    if _BARE.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


if __name__ == "__main__":
    if not __package__:
        sys.path.pop(0)  # this folder, whose names are no top-level modules
    sys.exit(main(sys.argv[1:]))
