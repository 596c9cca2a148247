"""Text in and out: plain, gzip or zstandard, a file or stdin."""

from __future__ import annotations

import gzip
import io
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, BinaryIO, cast

from psiflow_cli.errors import BadData, NoInput

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_GZIP, _ZSTD, _BOM = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xef\xbb\xbf"
_CHUNK = 1 << 17
_PIECE = 256


@contextmanager
def open_bytes(path: str | Path, name: str = "") -> Iterator[BinaryIO]:
    """Open a file, or stdin for `-`, without a byte order mark; what is compressed is known by its first bytes.

    Raises NoInput for what cannot be opened.
    """
    name = name or str(path)
    if str(path) == "-":
        yield _plain(sys.stdin.buffer, name)
        return
    with _open(Path(path), name) as raw:
        yield _plain(raw, name)


def _open(path: Path, name: str) -> BinaryIO:
    try:
        return path.open("rb", buffering=_CHUNK)
    except FileNotFoundError:
        raise NoInput(f"{name}: no such file", "check its name and the working directory") from None
    except IsADirectoryError:
        raise NoInput(f"{name}: is a directory", "give the files in it") from None
    except OSError as error:
        raise NoInput(f"{name}: {error.strerror}") from None


def _plain(raw: BinaryIO, name: str) -> BinaryIO:
    stream = cast(io.BufferedReader, raw)
    head = stream.peek(4)[:4]
    if head.startswith(_GZIP):
        stream = io.BufferedReader(cast(io.RawIOBase, gzip.GzipFile(fileobj=raw)), _CHUNK)
    elif head == _ZSTD:
        stream = io.BufferedReader(_Unzstd(raw, name), _CHUNK)
    if stream.peek(3)[:3] == _BOM:
        stream.read(3)
    return stream


class _Unzstd(io.RawIOBase):
    """Decompress, and notice a file that was cut off: zstandard's own reader takes it for a short one."""

    def __init__(self, raw: BinaryIO, name: str) -> None:
        self._raw, self._name = raw, name
        self._zstd = zstandard(name)
        self._frame = self._zstd.ZstdDecompressor().decompressobj()
        self._begun, self._packed, self._ready = False, b"", b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        while not self._ready:
            if not self._packed:
                self._packed = self._raw.read(_CHUNK // 16)
            if not self._packed:
                if self._begun:
                    raise BadData(f"{self._name}: the zstandard file is cut off", "copy or write it again")
                return 0
            self._unpack()
        view = memoryview(buffer)
        size = min(len(view), len(self._ready))
        view[:size], self._ready = self._ready[:size], self._ready[size:]
        return size

    def _unpack(self) -> None:
        """Decompress so little that even a file of zeros stays small."""
        piece, self._packed = self._packed[:_PIECE], self._packed[_PIECE:]
        try:
            self._ready = self._frame.decompress(piece)
        except self._zstd.ZstdError:
            raise BadData(f"{self._name}: the zstandard file is damaged", "copy or write it again") from None
        self._begun = not self._frame.eof
        if self._frame.eof:
            self._packed = self._frame.unused_data + self._packed
            self._frame = self._zstd.ZstdDecompressor().decompressobj()


def zstandard(name: str) -> ModuleType:
    """The package for .zst; raises NoInput where it is not installed."""
    try:
        import zstandard
    except ImportError:
        raise NoInput(f"{name}: needs the Python package zstandard", "pip install zstandard") from None
    return zstandard


def write(path: str | Path, texts: Iterable[str], packed: str = "") -> int:
    """Write texts to a new file, on disk when this returns; gives their number.

    Compressed as the suffix `packed` (or else the path's) says, and equal texts make equal bytes.
    """
    path = Path(path)
    count = 0
    with path.open("wb") as file:
        packer = _packer(file, packed or path.suffix, str(path))
        with io.TextIOWrapper(io.BufferedWriter(packer, _CHUNK), encoding="utf-8", newline="\n") as stream:
            for text in texts:
                stream.write(text)
                count += 1
        file.flush()
        os.fsync(file.fileno())
    return count


def _packer(file: BinaryIO, suffix: str, name: str) -> io.RawIOBase:
    if suffix == ".gz":
        return cast(io.RawIOBase, gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=6, mtime=0))
    if suffix == ".zst":
        return cast(io.RawIOBase, zstandard(name).ZstdCompressor().stream_writer(file, closefd=False))
    return os.fdopen(os.dup(file.fileno()), "wb", buffering=0)
