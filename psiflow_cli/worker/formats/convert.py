"""Any structure file that ASE reads, as extended XYZ on stdout: `python -m psiflow_cli.worker.formats.convert FILE`.

The other way round, with `FRAMES.xyz FORMAT FILE`: extended XYZ in a format that ASE writes, under ASE's name for it.
It also runs by its path (`python …/convert.py FILE`), in an environment that has ASE but not this package. Floats come
through bit for bit; lines on stderr that begin with NOTE name what did not come through.
Exit codes, each with one line on stderr: 65 for frames that cannot be read or written, 66 for no file, 74 where stdout
cannot be written, 78 for an environment without ASE.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import importlib.util
import io
import lzma
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ase import Atoms

    from psiflow_cli.worker.formats.carried import Carrier

NOTE = "note: "
_UNPACK: dict[str, Callable[[str], io.BufferedIOBase]] = {
    ".gz": gzip.GzipFile, ".bz2": bz2.BZ2File, ".xz": lzma.LZMAFile,
}  # fmt: skip


def main(arguments: list[str]) -> int:
    """Convert one file; returns the exit code."""
    if len(arguments) not in (1, 3):
        print("usage: python -m psiflow_cli.worker.formats.convert FILE | FRAMES.xyz FORMAT FILE", file=sys.stderr)
        return 2
    name = arguments[0]
    if not os.path.isfile(name) or not os.access(name, os.R_OK):
        # A folder too: ASE would take it for a bundle, which may hold pickles.
        print(f"{name}: cannot read: {'not a file' if os.path.exists(name) else 'no such file'}", file=sys.stderr)
        return 66
    if importlib.util.find_spec("ase") is None:
        print(f"{name}: cannot read: {sys.executable} has no ASE", file=sys.stderr)
        return 78
    warnings.simplefilter("ignore")
    return _convert(name) if len(arguments) == 1 else _write(*arguments)


class _Unreadable(Exception):
    """Why ASE, or what we ask of its frames, refuses the file."""


def _convert(name: str) -> int:
    from psiflow_cli.worker.formats.carried import Carrier

    output, carrier = sys.stdout, Carrier()
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # some of ASE's readers print
            for text in _texts(name, carrier):
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
    for line in carrier.notes():
        print(f"{NOTE}{line}", file=sys.stderr)
    return 0


def _write(source: str, kind: str, path: str) -> int:
    from psiflow_cli.worker.formats.write import rewrite

    try:
        rewrite(source, kind, path)
    except Exception as error:
        print(f"these frames cannot be written as {kind}: {_reason(error)}", file=sys.stderr)
        return 65
    return 0


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _texts(name: str, carrier: Carrier) -> Iterator[str]:
    """The text of each frame; raises _Unreadable only."""
    kind, where, number = "any format of ASE", "", 0
    with tempfile.TemporaryDirectory(prefix="psiflow-") as folder:
        try:
            from psiflow_cli.worker.formats.doubtful import Doubts

            path = _unpacked(os.path.abspath(name), folder)
            kind = _format(path)
            if kind == "vasp-out":  # whose constraints are in a POSCAR beside it
                path = os.path.abspath(name)
            doubts = Doubts(kind, path)
            for atoms in _frames(path, kind):
                number += 1
                where = f" frame {number}:"
                yield carrier.text(atoms, doubts.settle(atoms))
                where = ""
            if number == 0:
                raise ValueError("it contains no frames")
            carrier.remarks += doubts.remarks
        except Exception as error:
            raise _Unreadable(f"{kind}:{where} {_reason(error)}") from error


def _frames(path: str, kind: str) -> Iterator[Atoms]:
    if kind in ("db", "json"):  # `iread` leaves out what the user has stored beside the structures
        from ase.db import connect

        for row in connect(path, type=kind).select():
            yield row.toatoms(add_additional_information=True)
        return
    from ase.io import iread

    yield from iread(path, index=":", format=kind, do_not_split_by_at_sign=True)


def _format(path: str) -> str:
    """ASE's name for the format: as psiflow itself would write a file of this name, else what ASE finds."""
    from ase.io.formats import filetype, ioformats

    from psiflow_cli import formats
    from psiflow_cli.worker.formats import doubtful

    kind = formats.of_ase(path) or filetype(path)
    # ASE knows no suffix of LAMMPS's data files, and takes .data for one of RuNNer's
    if (kind not in ioformats or kind == "runnerdata") and doubtful.is_lammps_data(path):
        return "lammps-data"
    return kind


def _unpacked(path: str, folder: str) -> str:
    """The file, or a copy in the folder that is not packed: ASE unpacks text only."""
    unpack = _UNPACK.get(os.path.splitext(path)[1].lower())
    if unpack is None:
        return path
    copy = Path(folder, Path(path).stem)
    with unpack(path) as packed, copy.open("wb") as stream:
        shutil.copyfileobj(packed, stream)
    return str(copy)


def _import_this_package() -> None:
    """Make `psiflow_cli` the package that this file is of, whatever the environment has, and let nothing else in."""
    sys.path.pop(0)  # this folder, whose names are no top-level modules
    root = Path(__file__).resolve().parents[2]
    spec = importlib.util.spec_from_file_location(
        "psiflow_cli", root / "__init__.py", submodule_search_locations=[str(root)]
    )
    assert spec
    assert spec.loader
    sys.modules["psiflow_cli"] = package = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)


if __name__ == "__main__":
    if not __package__:
        _import_this_package()
    sys.exit(main(sys.argv[1:]))
