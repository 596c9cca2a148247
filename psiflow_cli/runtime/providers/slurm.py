"""Jobs of a SLURM cluster, submitted with sbatch."""

from __future__ import annotations

import getpass
import subprocess
from typing import TYPE_CHECKING, Literal

from msgspec import field

from psiflow_cli import duration
from psiflow_cli.errors import BadConfig
from psiflow_cli.runtime.providers import _srun
from psiflow_cli.site import schema
from psiflow_cli.site.detect import megabytes
from psiflow_cli.site.executor import ResolvedExecutor

if TYPE_CHECKING:
    from parsl.providers.base import ExecutionProvider

CANCEL = "scancel"  # the program that ends jobs by their ids


class Provider(schema.BatchProvider, frozen=True, kw_only=True):
    """In SLURM's own names; see sbatch(1)."""

    type: Literal["slurm"]
    partition: schema.Word = ""
    account: schema.Word = ""
    qos: schema.Word = ""
    clusters: schema.Word = ""
    constraint: schema.Line = ""
    exclusive: bool = False
    sbatch: list[schema.Line] = field(default_factory=list)
    """Further lines of the script, such as `--mail-type=FAIL`, each without `#SBATCH`."""
    status_every: schema.Count = 20  # how many seconds from one look at the queue to the next


def build(provider: Provider, resolved: ResolvedExecutor) -> ExecutionProvider:
    """Parsl's SlurmProvider, which looks at the queue as often as the site wants."""
    from parsl.launchers import SingleNodeLauncher, SrunLauncher
    from parsl.providers import SlurmProvider

    class Slurm(SlurmProvider):  # type: ignore[misc, unused-ignore]
        @property
        def status_polling_interval(self) -> int:
            return provider.status_every

    memory = megabytes(provider.memory_per_node) if provider.memory_per_node else None
    if memory is not None and memory % 1024:
        problem = f"providers.{resolved.table.provider}: memory_per_node: {provider.memory_per_node!r} is not whole GB"
        raise BadConfig(problem, "SLURM is asked for whole GB through Parsl")
    return Slurm(
        partition=provider.partition or None, account=provider.account or None, qos=provider.qos or None,
        constraint=provider.constraint or None, clusters=provider.clusters or None,
        cores_per_node=provider.cores_per_node, mem_per_node=memory // 1024 if memory else None,
        gpus_per_node=provider.gpus_per_node or None,
        scheduler_options="".join(f"#SBATCH {line}\n" for line in provider.sbatch),
        exclusive=provider.exclusive, **provider.blocks,
        launcher=SrunLauncher(overrides=_srun.OVERLAP) if provider.nodes > 1 else SingleNodeLauncher(),
    )  # fmt: skip


def problems(provider: Provider) -> list[str]:
    """What SLURM says against this table: an unknown partition, one that is down or too short, an unknown account."""
    cluster = [f"--clusters={provider.clusters}"] if provider.clusters else []
    try:
        answer = _ask("sinfo", "-h", "-o", "%R %a %l", *cluster)
    except OSError:
        return ["sinfo is not found: is this a login node of the cluster?"]
    rows = [line.split() for line in answer.splitlines() if len(line.split()) == 3]  # not the name of the cluster
    states, limits = {row[0]: row[1] for row in rows}, {row[0]: row[2] for row in rows}
    sentences = []
    if provider.partition and provider.partition not in states:
        sentences.append(f"no partition {provider.partition!r}: there are {', '.join(sorted(states)) or 'none'}")
    elif provider.partition and states[provider.partition] != "up":
        sentences.append(f"partition {provider.partition!r} is {states[provider.partition]}")
    limit = limits.get(provider.partition, "")
    if limit[:1].isdigit() and (provider.block_walltime or 0) > duration.parse(limit):
        sentences.append(f"walltime {provider.walltime} is more than partition {provider.partition!r} allows: {limit}")
    accounts = _accounts() if provider.account else set()
    if accounts and provider.account not in accounts:
        sentences.append(f"no account {provider.account!r} of yours: there are {', '.join(sorted(accounts))}")
    return sentences


def _accounts() -> set[str]:
    """The accounts of this user; none where SLURM keeps no accounts."""
    try:
        user = f"user={getpass.getuser()}"
        return set(_ask("sacctmgr", "-n", "-P", "show", "assoc", "format=account", user).split())
    except OSError:
        return set()


def _ask(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout
