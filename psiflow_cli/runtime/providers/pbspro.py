"""Jobs of PBS Professional or OpenPBS, submitted with qsub."""

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
WHY, why, lasting = ["qstat", "-f"], reasons.of_pbs, reasons.lasting


class Provider(schema.BatchProvider, frozen=True, kw_only=True):
    """In PBS's own names; see qsub(1)."""

    type: Literal["pbspro"]
    queue: schema.Word = ""
    account: schema.Word = ""
    select: schema.Line = ""  # more of the resource chunk, such as `mem=64gb:ngpus=1`
    directives: list[schema.Line] = field(default_factory=list)
    """Further lines of the script, such as `-m n`, each without `#PBS`."""


def build(provider: Provider, resolved: ResolvedExecutor) -> ExecutionProvider:
    from parsl.providers import PBSProProvider

    return PBSProProvider(  # type: ignore[no-untyped-call]
        account=provider.account or None, queue=provider.queue or None, select_options=provider.select,
        cpus_per_node=provider.cores_per_node,
        scheduler_options="".join(f"#PBS {line}\n" for line in provider.directives),
        launcher=launcher_of(provider, resolved, "mpiexec"), **provider.blocks,
    )  # fmt: skip
