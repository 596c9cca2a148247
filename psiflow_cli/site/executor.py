"""An executor of a site file, resolved for one operation on one machine."""

from __future__ import annotations

from dataclasses import dataclass, field
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
    run: schema.Run = field(default_factory=schema.Run)
    on_oom: ResolvedExecutor | None = None  # where a task that took too much memory goes

    @property
    def workers(self) -> int:
        """Tasks that run at once, in all blocks."""
        return self.workers_per_node * self.nodes * getattr(self.provider, "max_blocks", 1)

    def retries(self, failure: str) -> int:
        """How often a task that ended with this class of failure is tried again within this run."""
        if failure == "worker-lost" and self.table.retries is not None:
            return self.table.retries
        return int(getattr(self.run.retries, failure.replace("-", "_"), 0))
