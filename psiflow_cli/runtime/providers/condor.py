"""Jobs of HTCondor, submitted with condor_submit."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from msgspec import field

from psiflow_cli.errors import BadConfig
from psiflow_cli.runtime.batch_queue import reasons
from psiflow_cli.site import schema
from psiflow_cli.site.executor import ResolvedExecutor

if TYPE_CHECKING:
    from parsl.providers.base import ExecutionProvider

CANCEL = "condor_rm"  # the program that ends jobs by their ids
STATES = {"5": "HELD", "6": "RUNNING", "7": "HELD"}  # held, sending its output, suspended: none of them has ended
WHY, why, lasting = ["condor_q", "-af:j", "HoldReason"], reasons.of_condor, reasons.lasting


class Provider(schema.BatchProvider, frozen=True, kw_only=True):
    """In HTCondor's own names; see condor_submit(1). A slot is a node."""

    type: Literal["condor"]
    project: schema.Word = ""
    requirements: schema.Line = ""  # which machines may match, such as `(Arch == "X86_64")`
    directives: list[schema.Line] = field(default_factory=list)
    """Further lines of the submit description, such as `request_gpus = 1`."""


def build(provider: Provider, resolved: ResolvedExecutor) -> ExecutionProvider:
    from parsl.launchers import SingleNodeLauncher
    from parsl.providers import CondorProvider

    if provider.launcher not in ("auto", "single_node") or provider.launcher_options:
        problem = f"[providers.{resolved.table.provider}] launcher: HTCondor starts a worker pool in each slot itself"
        raise BadConfig(problem, "remove launcher and launcher_options")
    return CondorProvider(
        project=provider.project, requirements=provider.requirements, cores_per_slot=provider.cores_per_node,
        scheduler_options="".join(f"{line}\n" for line in provider.directives), launcher=SingleNodeLauncher(),
        **provider.blocks,
    )  # fmt: skip


def exclude(provider: Provider, nodes: list[str]) -> str:
    """The last `requirements` of a description is the one that counts; machines have names with their domain."""
    names = "|".join(re.escape(node.partition(".")[0]).replace("\\", "\\\\") for node in nodes)
    own = f"({provider.requirements}) && " if provider.requirements else ""
    return f'requirements = {own}!regexp("^({names})([.]|$)", TARGET.Machine)\n'
