"""An append-only record of finished units: one checksummed line each, fsynced before it counts.

A line is a JSON object whose first key is the CRC-32 of the rest. A torn tail or a flipped byte costs the record it
hits and no other: a line that does not hold is searched for whole records, since a broken line end joins two of them.
"""

from __future__ import annotations

import itertools
import json
import os
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from psiflow_cli import atomic_file

if TYPE_CHECKING:
    from psiflow_cli.messages import Record, Unit

_START = b'{"crc":"'
_HEAD = len(_START) + 8 + 2  # the checksum and `",`


def encode(record: Mapping[str, object]) -> bytes:
    """One record as a line."""
    body = json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode()[1:]
    return b'%s%08x",%s\n' % (_START, zlib.crc32(body), body)


def _holds(line: bytes) -> bool:
    """Whether a line (without its end) is a whole record."""
    if not line.startswith(_START) or line[_HEAD - 2 : _HEAD] != b'",':
        return False
    return b"%08x" % zlib.crc32(line[_HEAD:]) == line[len(_START) : _HEAD - 2]


def _salvage(line: bytes) -> Iterator[tuple[int, bytes]]:
    """Whole records inside a broken line, with their places in it."""
    starts = []
    at = line.find(_START)
    while at >= 0:
        starts.append(at)
        at = line.find(_START, at + 1)
    for start, end in itertools.pairwise([*starts, len(line)]):
        for stop in (end, end - 1):  # the byte before the next record may be a broken line end
            if _holds(line[start:stop]):
                yield start, line[start:stop]
                break


def lines(path: Path, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Every whole record's (offset, text) from `start` on, in order, in constant memory."""
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        return
    with stream:
        stream.seek(start)
        offset = start
        for raw in stream:
            line = raw.rstrip(b"\n")
            if _holds(line):
                yield offset, line
            elif line:
                for place, whole in _salvage(line):
                    yield offset + place, whole
            offset += len(raw)


def head(line: bytes) -> Record:
    """A record without its `value`, which is the bulk and stands last."""
    cut = line.find(b',"value":')
    return cast("Record", json.loads(line if cut < 0 else line[:cut] + b"}"))


def whole_unit(line: bytes) -> Unit:
    """A unit with its `value`."""
    return cast("Unit", json.loads(line))


def records(path: Path) -> Iterator[tuple[int, Record]]:
    """Every whole record's (offset, head)."""
    for offset, line in lines(path):
        yield offset, head(line)


def thin(path: Path, unwanted: Callable[[Record], bool]) -> None:
    """Replace a journal whole by one without the unwanted records. Only the holder of the run's lock may do it."""
    with atomic_file.writing(path) as stream:
        for _, line in lines(path):
            if not unwanted(head(line)):
                stream.write(line + b"\n")


def unit(unit_id: str, fingerprint: str, ok: bool, seconds: float, cores: int, **details: object) -> Unit:
    """The record of a finished unit; `details` are the other keys of `messages.Unit`, the `value` last."""
    now = round(time.time(), 3)
    head = {"kind": "unit", "id": unit_id, "of": fingerprint, "ok": ok, "t": now, "s": seconds, "cores": cores}
    return cast("Unit", {**head, **details})


class Journal:
    """The journal of one run, open for appending. Only the holder of the run's lock may make one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._end = os.fstat(self._fd).st_size
        if self._end and os.pread(self._fd, 1, self._end - 1) != b"\n":
            self._write(b"\n")  # a torn tail must not swallow the next record

    def append(self, *items: Record) -> list[int]:
        """Write records and wait for the disk; returns their offsets."""
        offsets, texts, at = [], [], self._end
        for text in map(encode, items):
            offsets.append(at)
            texts.append(text)
            at += len(text)
        self._write(b"".join(texts))
        return offsets

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = os.write(self._fd, view)
            self._end += written
            view = view[written:]
        os.fdatasync(self._fd)

    def value(self, offset: int) -> Any:
        """The `value` of the record at an offset that this or an earlier process got from `append` or `lines`."""
        size = 1 << 16
        data = os.pread(self._fd, size, offset)
        while b"\n" not in data and len(data) == size:
            size *= 4
            data = os.pread(self._fd, size, offset)
        line = data.split(b"\n", 1)[0]
        if not _holds(line):
            line = next(_salvage(line))[1]
        return json.loads(line)["value"]

    def close(self) -> None:
        os.close(self._fd)
