"""The input and the log of every frame, kept in the run's folder: those of labels in one archive, for they are many."""

from __future__ import annotations

import contextlib
import gzip
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psiflow_cli.messages import Context, Frame


_of_thread = threading.local()


@contextlib.contextmanager
def collected() -> Iterator[list[tuple[str, bytes]]]:
    """The logs of labels that this thread writes meanwhile, as names and contents; without it, they become files."""
    logs: list[tuple[str, bytes]] = []
    before, _of_thread.logs = getattr(_of_thread, "logs", None), logs
    try:
        yield logs
    finally:
        _of_thread.logs = before


@dataclass(frozen=True)
class TaskLog:
    """A frame's input and log in the run's folder: compressed for a label, plain for a failure, which gets read."""

    folder: Path
    name: str
    input: str

    @classmethod
    def of_frame(cls, frame: Frame, input: str, context: Context) -> TaskLog:
        """Where a task's context has those of this frame."""
        return cls(Path(context["logs"]), frame["id"], input)

    def write(self, log: str, failed: bool) -> str:
        """Write both; returns the log's path."""
        self.folder.mkdir(parents=True, exist_ok=True)
        logs: list[tuple[str, bytes]] | None = getattr(_of_thread, "logs", None)
        for suffix, contents in ((".inp", self.input), (".out", log)):
            plain, packed = self.folder / f"{self.name}{suffix}", self.folder / f"{self.name}{suffix}.gz"
            if failed:
                plain.write_text(contents)
                packed.unlink(missing_ok=True)
                continue
            data = gzip.compress(contents.encode(), mtime=0)
            if logs is None:
                packed.write_bytes(data)
            else:
                logs.append((packed.name, data))
            plain.unlink(missing_ok=True)
        return str(self.folder / f"{self.name}.out") + ("" if failed else ".gz")
