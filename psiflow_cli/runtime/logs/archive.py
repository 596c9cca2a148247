"""A tar archive that grows by whole members, and can be read at any time."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

FINISHED = "finished.tar"
"""In the folder of the tasks' logs: those of tasks that did not fail."""


class Archive:
    """Members are bytes with a name; the file appears with the first. Of two with the same name, the last counts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def append(self, members: Iterable[tuple[str, bytes]]) -> None:
        """Raises OSError, and leaves what was there before."""
        data = b"".join(_member(name, contents) for name, contents in members)
        if self._fd is None:
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        end = os.fstat(self._fd).st_size
        view = memoryview(_padding(end) + data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:
            os.ftruncate(self._fd, end)
            raise

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _member(name: str, contents: bytes) -> bytes:
    import tarfile

    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = len(contents), 0o600, int(time.time())
    return info.tobuf(tarfile.GNU_FORMAT) + contents + _padding(len(contents))


def _padding(size: int) -> bytes:
    """What fills the last of the blocks of 512 bytes that a tar archive is made of."""
    return bytes(-size % 512)
