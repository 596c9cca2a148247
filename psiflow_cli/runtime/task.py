"""What is asked of a worker, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass
class Task:
    """One call on a worker: `target` is `module:function`, `payload` its keyword arguments, `note` the caller's own."""

    function: str
    payload: Mapping[str, Any]
    note: Any = None
    tries: int = 1
    losses: int = 0  # how often it was lost before, with its worker alone or with a whole node
    submitted: float = 0.0  # by the monotonic clock
    hang_log: str = ""
    """Where its worker says where it stood when the walltime was up; empty: nothing ends a task that hangs."""


@dataclass
class Outcome:
    """What became of a task: a value, an error's text, or lost with its worker."""

    value: Any = None
    error: str = ""
    log: str = ""  # the file that has the error's traceback
    lost: str = ""
    hung: bool = False  # lost because it took longer than its walltime
    blame: bool = False
    """Lost alone, and not with its whole node, or with too many nodes: the task itself may be why."""
    seconds: float = 0.0
