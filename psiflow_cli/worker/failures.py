"""The classes of failed frames, and the failure that ends a whole run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from psiflow_cli.errors import BAD_CONFIG

if TYPE_CHECKING:
    from psiflow_cli.messages import Failure, FailureClass

FAILURES: tuple[FailureClass, ...] = (
    "unconverged",
    "crashed",
    "timeout",
    "out-of-memory",
    "inconsistent",
    "invalid-input",
    "worker-lost",
)
MACHINE_FAILURES: tuple[FailureClass, ...] = ("worker-lost", "timeout", "out-of-memory")
"""Failures that are the machine's fault, not the frame's: the next run tries them again."""

_OUT_OF_MEMORY = re.compile(
    r"out of memory|oom[-_ ]kill|can(?:no|')t allocate memory|error allocating|allocation would exceed memory|"
    r"insufficient (?:virtual )?memory|not enough memory|std::bad_alloc|MemoryError|exited on signal 9\b",
    re.IGNORECASE,
)


class Fatal(Exception):
    """Nothing in this run can work (no such executable, a wrong keyword): ends the stage with `exit_code`."""

    def __init__(self, message: str, hint: str = "", exit_code: int = BAD_CONFIG) -> None:
        super().__init__(message)
        self.message, self.hint, self.exit_code = message, hint, exit_code


def failure(kind: FailureClass, message: str, log: str = "") -> Failure:
    """A failed frame as it crosses the wire."""
    if kind not in FAILURES:
        raise ValueError(f"unknown failure class {kind!r}")
    return {"failure": kind, "message": " ".join(message.split())[:500], "log": log}


def is_out_of_memory(error: BaseException | str) -> bool:
    """Whether an exception, or what a program printed, says that memory ran out: of the host or of a GPU."""
    return isinstance(error, MemoryError) or bool(_OUT_OF_MEMORY.search(str(error)))
