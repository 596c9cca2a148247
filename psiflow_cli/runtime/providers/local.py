"""Processes on this host or, inside a SLURM job, on the nodes of its allocation."""

from __future__ import annotations

from typing import Any

from psiflow_cli.site.resolve import Target


def build(target: Target) -> Any:
    """Parsl's LocalProvider: one block that holds every node."""
    from parsl.launchers import SingleNodeLauncher, SrunLauncher
    from parsl.providers import LocalProvider

    launcher = SrunLauncher() if target.nodes > 1 else SingleNodeLauncher()
    return LocalProvider(  # type: ignore[no-untyped-call]
        nodes_per_block=target.nodes,
        launcher=launcher,
        init_blocks=1,
        min_blocks=1,
        max_blocks=1,
        worker_init="\n".join(target.provider.worker_init),
    )
