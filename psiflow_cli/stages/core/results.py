"""Which frames there are, and where each one's result stands in the journal."""

from __future__ import annotations

import contextlib
import time
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Generic, cast

from psiflow_cli import extxyz
from psiflow_cli.runtime import journal
from psiflow_cli.stages.core.ids import FrameIds, IdSet, IdTable
from psiflow_cli.stages.core.workspace import Workspace
from psiflow_cli.worker.failures import FAILURES, MACHINE_FAILURES

if TYPE_CHECKING:
    from typing import Any

    from typing_extensions import TypeIs, TypeVar

    from psiflow_cli.messages import Failure, FailureClass, Unit

    R = TypeVar("R", covariant=True, default=Any)
else:
    from typing import TypeVar

    R = TypeVar("R", covariant=True)


def is_failure(result: Mapping[str, object]) -> TypeIs[Failure]:
    """Whether this is why a frame has no result."""
    return "failure" in result


class Survey:
    """The first pass over the inputs: every frame checked and hashed, in 8 bytes a frame."""

    def __init__(
        self,
        frames: Iterator[extxyz.Frame],
        inputs: tuple[str, ...],
        see: Callable[[extxyz.Frame], object],
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
    def distinct(self) -> FrameIds:
        return FrameIds(self.ids)


class Failures(Mapping[int, "FailureClass"]):
    """The class of failure of each frame that failed, in a byte a frame."""

    def __init__(self, distinct: FrameIds) -> None:
        self._classes = IdTable(distinct, "b")

    def __getitem__(self, key: int) -> FailureClass:
        return FAILURES[self._classes[key]]

    def __contains__(self, key: object) -> bool:
        return key in self._classes

    def __iter__(self) -> Iterator[int]:
        return iter(self._classes)

    def __len__(self) -> int:
        return len(self._classes)

    def note(self, key: int, failure: FailureClass | None) -> None:
        """Note a failure, or that there is none."""
        if failure:
            self._classes[key] = FAILURES.index(failure)
        elif key in self._classes:
            del self._classes[key]


class Results(Generic[R]):
    """Where the result of each of the distinct frames stands in the journal; R is what the worker returns for one."""

    def __init__(self, workspace: Workspace, fingerprint: str, distinct: FrameIds) -> None:
        self._run = workspace.run
        self._key = workspace.run.key(fingerprint)
        self.distinct = distinct
        self.offsets = IdTable(distinct, "q")
        self.failures = Failures(distinct)
        self._waiting: list[Unit] = []
        self._is_held = False
        for offset, unit in workspace.run.units(self._key):
            self._note(unit, offset)

    def _note(self, unit: Unit, offset: int) -> None:
        key = int(unit["id"], 16)
        self.offsets[key] = offset
        self.failures.note(key, None if unit["ok"] else cast("FailureClass", unit["failure"]))

    def add(self, ids: Sequence[str], results: Sequence[Mapping[str, object]], seconds: float, cores: int) -> None:
        """Journal a task's results; see also `together`."""
        share, now = round(seconds / len(ids), 6), round(time.time(), 3)
        units: list[Unit] = []
        for frame_id, result in zip(ids, results, strict=True):
            kind = result.get("failure")
            outcome = {"failure": kind} if kind else {"code": result.get("code", "")}
            # one moment for all: `status` tells by it what came back together
            units.append(journal.unit(frame_id, self._key, not kind, share, cores, t=now, **outcome, value=result))
        self._waiting += units
        if not self._is_held:
            self._write()

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """One write, and one wait for the disk, for all that is added within, however it ends."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
            self._write()

    def _write(self) -> None:
        units, self._waiting = self._waiting, []
        if units:
            for unit, offset in zip(units, self._run.journal.append(*units), strict=True):
                self._note(unit, offset)

    def forget(self, keys: IdSet) -> None:
        for key in keys:
            self.offsets.pop(key, None)

    def of(self, key: int) -> R:
        return cast("R", self._run.journal.value(self.offsets[key]))

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
