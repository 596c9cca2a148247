"""Which frames there are, and where each one's result stands in the journal."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

from psiflow_cli import extxyz
from psiflow_cli.messages import Wire
from psiflow_cli.stages.core.ids import IdSet, IdTable, Universe
from psiflow_cli.stages.core.workspace import Workspace
from psiflow_cli.worker.failures import FAILURES, MACHINE_FAILURES


class Survey:
    """The first pass over the inputs: every frame checked and hashed, in 8 bytes a frame."""

    def __init__(
        self,
        frames: Iterator[extxyz.Frame],
        inputs: tuple[str, ...],
        see: Callable[[extxyz.Frame], None],
        identity: Callable[[extxyz.Frame, tuple[str, ...]], str] = extxyz.frame_id,
    ) -> None:
        self.ids = array("Q")
        self.elements: set[str] = set()
        for frame in frames:
            see(frame)
            self.elements.update(frame.symbols)
            self.ids.append(int(identity(frame, inputs), 16))

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def distinct(self) -> Universe:
        """Every structure once."""
        return Universe(self.ids)


class Failures(Mapping[int, str]):
    """The class of failure of each frame that failed, in a byte a frame."""

    def __init__(self, distinct: Universe) -> None:
        self._classes = IdTable(distinct, "b")

    def __getitem__(self, key: int) -> str:
        return FAILURES[self._classes[key]]

    def __contains__(self, key: object) -> bool:
        return key in self._classes

    def __iter__(self) -> Iterator[int]:
        return iter(self._classes)

    def __len__(self) -> int:
        return len(self._classes)

    def note(self, key: int, kind: str) -> None:
        """Note a failure, or with an empty kind that there is none."""
        if kind:
            self._classes[key] = FAILURES.index(kind)
        else:
            self._classes.pop(key, None)


class Results:
    """Where the result of each of the distinct frames stands in the journal."""

    def __init__(self, workspace: Workspace, of: str, distinct: Universe) -> None:
        self._run = workspace.run
        self._of = workspace.run.key(of)
        self.distinct = distinct
        self.offsets = IdTable(distinct, "q")
        self.failures = Failures(distinct)
        for offset, unit in workspace.run.units(self._of):
            self._note(unit, offset)

    def _note(self, unit: dict[str, Any], offset: int) -> None:
        key = int(unit["id"], 16)
        self.offsets[key] = offset
        self.failures.note(key, "" if unit["ok"] else unit["failure"])

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

    def forget(self, keys: IdSet) -> None:
        """Take results for not there."""
        for key in keys:
            self.offsets.pop(key, None)

    def of(self, key: int) -> Wire:
        """The result of a frame."""
        value: Wire = self._run.journal.value(self.offsets[key])
        return value

    def needed(self, retry_failed: bool) -> IdSet:
        """The frames that have no result yet, or a failure that is to be tried again."""
        return IdSet(
            self.distinct,
            (
                k for k in self.distinct
                if k not in self.offsets
                or (k in self.failures and (retry_failed or self.failures[k] in MACHINE_FAILURES))
            ),
        )  # fmt: skip
