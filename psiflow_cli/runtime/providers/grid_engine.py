"""Jobs of (Sun, Univa, Altair) Grid Engine, submitted with qsub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import field

from psiflow_cli.runtime.batch_queue import reasons
from psiflow_cli.runtime.executors._launchers import launcher_of
from psiflow_cli.site import schema
from psiflow_cli.site.executor import ResolvedExecutor

if TYPE_CHECKING:
    from parsl.providers.base import ExecutionProvider

CANCEL = "qdel"  # the program that ends jobs by their ids
STATES = {"t": "RUNNING", **dict.fromkeys(("hqw", "hrwq", "s", "ts", "eqw", "ehqw", "ehrqw"), "HELD")}
"""Parsl takes a job that is being started, suspended or in an error state for one that has ended."""
WHY, why, lasting = ["qstat", "-j"], reasons.of_grid_engine, reasons.lasting


class Provider(schema.BatchProvider, frozen=True, kw_only=True):
    """In Grid Engine's own names; see qsub(1)."""

    type: Literal["grid_engine"]
    queue: schema.Word = ""
    directives: list[schema.Line] = field(default_factory=list)
    """Further lines of the script, such as `-pe smp 16`, each without `#$`."""


def build(provider: Provider, resolved: ResolvedExecutor) -> ExecutionProvider:
    from parsl.providers import GridEngineProvider

    return GridEngineProvider(
        queue=provider.queue or None, scheduler_options="".join(f"#$ {line}\n" for line in provider.directives),
        launcher=launcher_of(provider, resolved, "mpiexec"), **provider.blocks,
    )  # fmt: skip


def exclude(provider: Provider, nodes: list[str]) -> str:
    """In the language of complex(5)."""
    return f"#$ -l hostname=!({'|'.join(nodes)})\n"
