"""Processes on this host or, inside a SLURM job, on the nodes of its allocation."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from msgspec import field

from psiflow_cli.runtime.executors._launchers import launcher_of
from psiflow_cli.site import schema
from psiflow_cli.site.detect import Machine, beside_its_job
from psiflow_cli.site.executor import ResolvedExecutor

if TYPE_CHECKING:
    from parsl.providers.base import ExecutionProvider


class Provider(schema.LaunchedProvider, frozen=True, kw_only=True):
    """What this process may use; nothing is queued."""

    type: Literal["local"] = "local"
    nodes: schema.Count | None = None  # None: those of the enclosing SLURM job, or 1
    keep_variables: list[schema.VariableName] = field(default_factory=list)
    """Of the shell's variables that blocks must not inherit, those that they inherit all the same."""

    def share(self, here: Machine) -> Machine:
        return replace(here, nodes=self.nodes or here.nodes)


def build(provider: Provider, resolved: ResolvedExecutor) -> ExecutionProvider:
    """Parsl's LocalProvider: one block that holds every node."""
    from parsl.providers import LocalProvider

    launcher = launcher_of(provider, resolved, "srun", elsewhere=beside_its_job())
    return LocalProvider(  # type: ignore[no-untyped-call]
        nodes_per_block=resolved.nodes, launcher=launcher, init_blocks=1, min_blocks=1, max_blocks=1,
        worker_init="\n".join(provider.worker_init),
    )  # fmt: skip
