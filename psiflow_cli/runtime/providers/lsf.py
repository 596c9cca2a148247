"""Jobs of IBM Spectrum LSF, submitted with bsub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import field

from psiflow_cli.runtime.batch_queue import reasons
from psiflow_cli.runtime.executors._launchers import launcher_of
from psiflow_cli.site import schema
from psiflow_cli.site.executor import ResolvedExecutor

if TYPE_CHECKING:
    from parsl.providers.base import ExecutionProvider

CANCEL = "bkill"  # the program that ends jobs by their ids
STATES = {"PSUSP": "HELD", "USUSP": "HELD", "SSUSP": "HELD"}  # Parsl takes a suspended job for one that has ended
WHY, why, lasting = ["bjobs", "-p"], reasons.of_lsf, reasons.lasting


class Provider(schema.BatchProvider, frozen=True, kw_only=True):
    """In LSF's own names; see bsub(1)."""

    type: Literal["lsf"]
    queue: schema.Word = ""
    project: schema.Word = ""
    redirect: bool = False  # submit the script on bsub's stdin, as some clusters want
    directives: list[schema.Line] = field(default_factory=list)
    """Further lines of the script, such as `-R "span[ptile=16]"`, each without `#BSUB`."""


def build(provider: Provider, resolved: ResolvedExecutor) -> ExecutionProvider:
    from parsl.providers import LSFProvider

    return LSFProvider(  # type: ignore[no-untyped-call]
        project=provider.project or None, queue=provider.queue or None, cores_per_node=provider.cores_per_node,
        bsub_redirection=provider.redirect,
        scheduler_options="".join(f"#BSUB {line}\n" for line in provider.directives),
        launcher=launcher_of(provider, resolved, "jsrun"), **provider.blocks,
    )  # fmt: skip


def exclude(provider: Provider, nodes: list[str]) -> str:
    """LSF joins several -R."""
    return "".join(f"#BSUB -R \"select[hname!='{node}']\"\n" for node in nodes)
