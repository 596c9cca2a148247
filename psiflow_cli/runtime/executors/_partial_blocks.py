"""Says of a block of several nodes when some of them have started no worker: they are paid for all the same."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli import duration
from psiflow_cli.console import note
from psiflow_cli.runtime import parsl_internals

if TYPE_CHECKING:
    from parsl.executors.base import ParslExecutor

    from psiflow_cli.site.executor import ResolvedExecutor

_LOOK_S = 5.0


class PartialBlocks:
    """Watches the blocks of an executor; `look` is cheap."""

    def __init__(self, executor: ParslExecutor, resolved: ResolvedExecutor, logs: Path) -> None:
        self._executor, self._resolved, self._logs = executor, resolved, logs
        self._looks: Counter[str] = Counter()
        """How often each block was seen with fewer pools than nodes: a command that stood still saw none come."""
        self._next_look = 0.0
        self._settled: set[str] = set()  # blocks that are told of, or were complete once

    def look(self) -> None:
        """Note once of each block how many of its nodes are missing after the time that a first worker has."""
        if self._resolved.nodes < 2 or time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _LOOK_S
        patience = float(duration.parse(self._resolved.run.first_worker))
        for block, pools in parsl_internals.pools_of_blocks(self._executor).items():
            if pools >= self._resolved.nodes:
                self._settled.add(block)  # they may leave one after another
            if block in self._settled:
                continue
            self._looks[block] += 1
            if self._looks[block] * _LOOK_S > patience:
                self._settled.add(block)
                job = parsl_internals.job_of(self._executor, block) or block
                note(
                    f"job {job}: workers have connected from {pools} of its {self._resolved.nodes} nodes within "
                    f"{duration.human(patience)}; logs: {self._logs}"
                )
