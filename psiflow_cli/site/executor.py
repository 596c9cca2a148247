"""An executor of a site file, resolved for one operation on one machine."""

from __future__ import annotations

import os
import site
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli.site import schema

if TYPE_CHECKING:
    from psiflow_cli.messages import Context


@dataclass(frozen=True)
class ResolvedExecutor:
    """An executor of a site with everything that running one operation needs to know, in numbers."""

    label: str
    table: schema.Executor  # as the site file has it
    provider: schema.Provider
    python: str
    environment: schema.Environment
    workers_per_node: int
    nodes: int
    gpus: tuple[str, ...]
    cores: int
    context: Context
    min_runtime: float | None = None  # time (s) that must be left in a block for a task to start there
    run: schema.Run = field(default_factory=schema.Run)
    on_oom: ResolvedExecutor | None = None  # where a task that took too much memory goes

    @property
    def isolation(self) -> list[str]:
        """The words before a command by which its Python finds the packages of its own environment, and no others.

        What the shell of this command exports is for this command; a variable without which the command itself would
        not run stays for workers that run on the same Python.
        """
        if self.environment.keep_pythonpath:
            return []
        own = _homes() if self.python == sys.executable and not self.environment.container else []
        inherits_path = any(home in map(_real, _python_path()) for home in own)
        inherits_user = any(home == _real(site.getusersitepackages()) for home in own)
        path = [] if inherits_path else ["-u", "PYTHONPATH"]
        user = [] if inherits_user else ["PYTHONNOUSERSITE=1"]
        return ["/usr/bin/env", *path, "-u", "PYTHONHOME", *user]

    @property
    def workers(self) -> int:
        """Tasks that run at once, in all blocks."""
        return self.workers_per_node * self.nodes * getattr(self.provider, "max_blocks", 1)

    @property
    def block_cores(self) -> int:
        """The cores of a block: those that are asked for, where a provider has a word for them."""
        return self.nodes * (getattr(self.provider, "cores_per_node", 0) or self.workers_per_node * self.cores)

    def retries(self, failure: str) -> int:
        """How often a task that ended with this class of failure is tried again within this run."""
        if failure == "worker-lost" and self.table.retries is not None:
            return self.table.retries
        return int(getattr(self.run.retries, failure.replace("-", "_"), 0))


def _homes() -> list[str]:
    """The folders in which this process finds psiflow and Parsl."""
    specs = [find_spec(name) for name in ("psiflow_cli", "parsl")]
    return [_real(Path(spec.origin).parents[1]) for spec in specs if spec and spec.origin]


def _python_path() -> list[str]:
    return [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]


def _real(path: str | Path) -> str:
    return os.path.realpath(path)
