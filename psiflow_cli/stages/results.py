"""Which frames there are, and where each one's result stands in the journal."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterator
from typing import Any

from psiflow_cli import extxyz
from psiflow_cli.seams import Wire
from psiflow_cli.stages.workspace import Workspace
from psiflow_cli.worker.guard import MACHINE_FAILURES


class Survey:
    """The first pass over the inputs: every frame checked and hashed, in 8 bytes a frame."""

    def __init__(
        self, frames: Iterator[extxyz.Frame], inputs: tuple[str, ...], see: Callable[[extxyz.Frame], None]
    ) -> None:
        self.ids = array("Q")
        self.elements: set[str] = set()
        for frame in frames:
            see(frame)
            self.elements.update(frame.symbols)
            self.ids.append(int(extxyz.frame_id(frame, inputs), 16))

    def __len__(self) -> int:
        return len(self.ids)


class Results:
    """Where each frame's result stands in the journal."""

    def __init__(self, space: Workspace, of: str) -> None:
        self._run = space.run
        self._of = space.run.key(of)
        self.offsets: dict[int, int] = {}
        self.failures: dict[int, str] = {}
        for offset, unit in space.run.units(self._of):
            self._note(unit, offset)

    def _note(self, unit: dict[str, Any], offset: int) -> None:
        key = int(unit["id"], 16)
        self.offsets[key] = offset
        if unit["ok"]:
            self.failures.pop(key, None)
        else:
            self.failures[key] = unit["failure"]

    def add(self, frames: list[Wire], results: list[Wire], seconds: float, cores: int) -> None:
        """Journal a task's results: one write, one wait for the disk."""
        now, each = round(time.time(), 3), round(seconds / len(frames), 6)
        units = []
        for frame, result in zip(frames, results, strict=True):
            kind = result.get("failure")
            outcome = {"failure": kind} if kind else {"code": result.get("code", "")}
            head = {
                "kind": "unit",
                "id": frame["id"],
                "of": self._of,
                "ok": not kind,
                "t": now,
                "s": each,
                "cores": cores,
            }
            units.append({**head, **outcome, "value": result})
        for unit, offset in zip(units, self._run.journal.append(*units), strict=True):
            self._note(unit, offset)

    def forget(self, keys: set[int]) -> None:
        """Take results for not there."""
        for key in keys:
            self.offsets.pop(key, None)

    def of(self, key: int) -> Wire:
        """The result of a frame."""
        value: Wire = self._run.journal.value(self.offsets[key])
        return value

    def needed(self, keys: array[int], retry_failed: bool) -> set[int]:
        """The frames that have no result yet, or a failure that is to be tried again."""
        return {
            k for k in keys
            if k not in self.offsets
            or (k in self.failures and (retry_failed or self.failures[k] in MACHINE_FAILURES))
        }  # fmt: skip
