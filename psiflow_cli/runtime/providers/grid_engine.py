"""Jobs of (Sun, Univa, Altair) Grid Engine, submitted with qsub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import field

from psiflow_cli.runtime.batch_queue import reasons
from psiflow_cli.site import schema
from psiflow_cli.site.executor import ResolvedExecutor

if TYPE_CHECKING:
    from parsl.providers.base import ExecutionProvider

CANCEL = "qdel"  # the program that ends jobs by their ids
WHY, why, lasting = ["qstat", "-j"], reasons.of_grid_engine, reasons.lasting


class Provider(schema.BatchProvider, frozen=True, kw_only=True):
    """In Grid Engine's own names; see qsub(1)."""

    type: Literal["grid_engine"]
    queue: schema.Word = ""
    directives: list[schema.Line] = field(default_factory=list)
    """Further lines of the script, such as `-pe smp 16`, each without `#$`."""


def build(provider: Provider, resolved: ResolvedExecutor) -> ExecutionProvider:
    from parsl.launchers import SingleNodeLauncher
    from parsl.providers import GridEngineProvider

    return GridEngineProvider(
        queue=provider.queue or None, scheduler_options="".join(f"#$ {line}\n" for line in provider.directives),
        launcher=SingleNodeLauncher(), **provider.blocks,
    )  # fmt: skip
