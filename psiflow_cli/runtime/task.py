"""What is asked of a worker, and what became of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from psiflow_cli.worker.pool import watchdog


@dataclass
class Loss:
    """A worker that died with a task."""

    place: str  # see `block_faults.lost_workers`; empty: the task was lost with a whole node
    units: int = 1  # of the task
    finished_elsewhere: int = 0  # of these
    is_counted: bool = False  # among the tries
    is_the_tasks: bool = False  # the task was lost at another place, too


@dataclass
class Task:
    """One call on a worker: `target` is `module:function`, `payload` its keyword arguments, `note` the caller's own."""

    function: str
    payload: Mapping[str, Any]
    note: Any = None
    tries: int = 1
    units: int = 1  # frames, or what else may be tried again apart from the rest
    losses: list[Loss] = field(default_factory=list)  # before, with its worker alone or with a whole node
    refusals: int = 0  # by workers at places where it was not to run
    submitted: float = 0.0  # by the monotonic clock
    returned: float = 0.0  # likewise
    hang_log: str = ""
    """Where its worker says where it stood when the walltime was up; empty: nothing ends a task that hangs."""
    last_words: str = ""
    """Where its worker says of which broken GPU it ended; empty: it cannot end."""

    def came_back(self) -> Task:
        """Note when the task came back, whatever became of it."""
        self.returned = time.monotonic()
        return self

    def hang_log_until(self, walltime: float | None) -> float:
        """How long to wait for the log of its hang, by the monotonic clock; 0 if it had no time (s) to hang.

        Where many workers have died at once, all logs are waited for together.
        """
        had_time = walltime is not None and self.returned - self.submitted > walltime
        return self.returned + watchdog.DELIVERY_S if had_time else 0.0


@dataclass
class Outcome:
    """What became of a task: a value, an error's text, or lost with its worker."""

    value: Any = None
    error: str = ""
    log: str = ""  # the file that has the error's traceback
    lost: str = ""
    hung: bool = False  # lost because it took longer than its walltime
    blame: int = 0
    """How many losses count as tries: those alone, and not with its whole node; 0: the place may be why."""
    seconds: float = 0.0
