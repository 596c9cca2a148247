"""Lines that another process appends to a file, read once each."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class GrowingFile:
    """A file of one JSON object a line, which may be looked at every few seconds."""

    path: Path
    offset: int = 0

    def new(self) -> list[dict[str, Any]]:
        """The whole lines since the last call; one that is still on its way comes next time."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self.offset += len(whole)
        entries = []
        for line in whole.splitlines():
            with suppress(ValueError):
                entries.append(json.loads(line))
        return entries

    def shrank(self) -> bool:
        """Whether it is another file than the one that was read."""
        return self.path.stat().st_size < self.offset


def cut_torn_line(path: Path) -> None:
    """Drop what a killed process wrote of its last line, or the next line would be glued to it."""
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with path.open("r+b") as file:
            file.truncate(whole)
