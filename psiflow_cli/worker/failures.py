"""The classes of failed frames, and the failure that ends a whole run."""

from __future__ import annotations

from typing import Any

FAILURES = (
    "unconverged",
    "crashed",
    "timeout",
    "out-of-memory",
    "inconsistent",
    "invalid-input",
    "worker-lost",
)
MACHINE_FAILURES = ("worker-lost", "timeout", "out-of-memory")
"""Failures that are the machine's fault, not the frame's: the next run tries them again."""


class Fatal(Exception):
    """Nothing in this run can work (no such executable, a wrong keyword): ends the stage with `exit_code`."""

    def __init__(self, message: str, hint: str = "", exit_code: int = 78) -> None:
        super().__init__(message)
        self.message, self.hint, self.exit_code = message, hint, exit_code


def failure(kind: str, message: str, log: str = "") -> dict[str, Any]:
    """A failed frame as it crosses the wire."""
    if kind not in FAILURES:
        raise ValueError(f"unknown failure class {kind!r}")
    return {"failure": kind, "message": " ".join(message.split())[:500], "log": log}
