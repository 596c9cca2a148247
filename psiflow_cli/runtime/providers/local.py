"""Processes on this host or, inside a SLURM job, on the nodes of its allocation."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from psiflow_cli.runtime.providers import _srun
from psiflow_cli.site import schema
from psiflow_cli.site.detect import Machine
from psiflow_cli.site.executor import ResolvedExecutor

if TYPE_CHECKING:
    from parsl.providers.base import ExecutionProvider


class Provider(schema.Provider, frozen=True, kw_only=True):
    """What this process may use; nothing is queued."""

    type: Literal["local"] = "local"
    nodes: schema.Count | None = None  # None: those of the enclosing SLURM job, or 1

    def share(self, here: Machine) -> Machine:
        return replace(here, nodes=self.nodes or here.nodes)


def build(provider: Provider, resolved: ResolvedExecutor) -> ExecutionProvider:
    """Parsl's LocalProvider: one block that holds every node."""
    from parsl.launchers import SingleNodeLauncher, SrunLauncher
    from parsl.providers import LocalProvider

    launcher = SrunLauncher(overrides=_srun.OVERLAP) if resolved.nodes > 1 else SingleNodeLauncher()
    return LocalProvider(  # type: ignore[no-untyped-call]
        nodes_per_block=resolved.nodes, launcher=launcher, init_blocks=1, min_blocks=1, max_blocks=1,
        worker_init="\n".join(provider.worker_init),
    )  # fmt: skip
