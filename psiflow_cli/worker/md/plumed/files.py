"""The files of one walker's PLUMED: what a checkpoint counts of them, and how they are cut back to it.

Of a file to whose end PLUMED only adds, the length and the hash are kept; a copy is made of one that it may rewrite.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import threading
from collections.abc import Collection, Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psiflow_cli.messages import PlumedFile

INPUT, LOG, VALUES, MINIMA = "plumed.dat", "plumed.log", "psiflow.values", "psiflow.minima"
_OURS = (INPUT, LOG, VALUES, MINIMA)
_working_directory = threading.Lock()
_own = threading.local()
_CLONE_FS = 0x200


def _unshare() -> bool:
    """Give this thread a working directory of its own; Linux can, without any privilege."""
    try:
        return bool(ctypes.CDLL(None).unshare(_CLONE_FS) == 0)
    except (OSError, AttributeError):
        return False


@contextmanager
def away() -> Iterator[None]:
    """PLUMED opens its files where the process is, which all threads share: one at a time is away, and comes back.

    A thread beside others that use relative paths, as one of the executor `threads`, gets a place of its own.
    """
    if getattr(_own, "is_away", False):
        yield
        return
    if threading.current_thread() is not threading.main_thread() and not hasattr(_own, "place"):
        _own.place = _unshare()
    with _working_directory:
        old_folder = os.open(".", os.O_RDONLY)
        _own.is_away = True
        try:
            yield
        finally:
            _own.is_away = False
            os.fchdir(old_folder)
            os.close(old_folder)


class WalkerFiles:
    """Those in the folder of a walker; `appended` are the names of those that only grow.

    Other walkers may be reading those that are `shared`, so they are never without a file of this name, and one that is
    cut back is a new file: PLUMED goes on in the old one, where nothing is in the middle of a line.
    """

    def __init__(
        self, folder: Path, appended: Collection[str], inputs: Collection[str], shared: Set[str] = frozenset()
    ) -> None:
        self.folder, self.appended, self.inputs, self.shared = folder, appended, inputs, shared
        self._copies = folder.with_name(f"{folder.name}-copies")

    def restore(self, counted: dict[str, PlumedFile] | None) -> None:
        """Leave what the checkpoint counts, or nothing. Raises RuntimeError where that is not there any more."""
        counted = counted or {}
        self.folder.mkdir(mode=0o700, exist_ok=True)
        for path in self._files():
            name = path.relative_to(self.folder).as_posix()
            if name in self.shared - counted.keys():
                self._cut(path, 0)
            elif name not in counted:
                path.unlink()
        for name, file in counted.items():
            path = self.folder / name
            if file["copy"]:
                shutil.copyfile(self._copies / file["copy"] / name, path)
            elif path.exists():
                self._cut(path, file["bytes"])
            if not path.exists() or _sha256(path) != file["sha256"]:
                problem = f"{path}: does not match its checkpoint"
                raise RuntimeError(f"{problem}; remove {self.folder.parent} to start its walkers again")
        if self._copies.exists():
            current = {file["copy"] for file in counted.values()}
            for old in self._copies.iterdir():
                if old.name not in current:
                    shutil.rmtree(old)
        for name in self.appended:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)

    def _cut(self, path: Path, length: int) -> None:
        """Leave the beginning of a file that is longer."""
        if path.stat().st_size <= length:
            return
        if path.name not in self.shared:
            os.truncate(path, length)
            return
        begin = self.folder.with_name(f"{self.folder.name}-part")
        with path.open("rb") as old, begin.open("wb") as new:
            while length and (part := old.read(min(length, 1 << 20))):
                length -= new.write(part)
        os.replace(begin, path)

    def trim(self, counted: dict[str, PlumedFile]) -> None:
        """Cut off what was appended since the checkpoint, while PLUMED has the files open."""
        for name in self.appended:
            path = self.folder / name
            length = counted[name]["bytes"] if name in counted else 0
            if path.exists() and path.stat().st_size > length:
                os.truncate(path, length)

    def count(self, step: int) -> dict[str, PlumedFile]:
        """What a checkpoint at this step is to count; it is on the disk, with copies where they are needed."""
        counted: dict[str, PlumedFile] = {}
        for path in self._files():
            name = path.relative_to(self.folder).as_posix()
            if path.name.startswith("bck.") or name in _OURS or (name in self.inputs and name not in self.appended):
                continue
            copy = None if name in self.appended else f"{step}"
            if copy:
                target = self._copies / copy / name
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                shutil.copyfile(path, target)
                _sync(target)
            else:
                _sync(path)
            counted[name] = {"bytes": path.stat().st_size, "sha256": _sha256(path), "copy": copy}
        return counted

    def _files(self) -> list[Path]:
        """Those of this walker; links lead to hills of others."""
        return sorted(path for path in self.folder.rglob("*") if path.is_file() and not path.is_symlink())


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()
