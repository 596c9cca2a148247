"""Jobs of a SLURM cluster, submitted with sbatch."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Any, Literal

from msgspec import field

from psiflow_cli.errors import BadConfig, NoResources
from psiflow_cli.runtime.batch_queue import slurm_limits, slurm_reasons
from psiflow_cli.runtime.batch_queue.slurm_jobs import SlurmJobs
from psiflow_cli.runtime.providers._parsl_internals import srun_options
from psiflow_cli.site import schema
from psiflow_cli.site.detect import megabytes
from psiflow_cli.site.executor import ResolvedExecutor

if TYPE_CHECKING:
    from parsl.providers.base import ExecutionProvider

CANCEL = "scancel"  # the program that ends jobs by their ids
lasting = slurm_reasons.lasting
_LOOK_S = 5
"""How often Parsl is told what the queue said last; that costs nothing."""
_IS_THERE_SACCT = "sacct -X"
"""How Parsl finds out: by listing all of today's jobs, once for every command."""


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
    status_every: schema.Count = 30  # how many seconds from one look at the queue to the next

    def __post_init__(self) -> None:
        """Raises ValueError for a variable that would send jobs to a cluster where nobody looks for them."""
        if named := {"SLURM_CLUSTERS", "SBATCH_CLUSTERS"} & set(self.keep_variables):
            raise ValueError(f'keep_variables cannot name {named.pop()}: write clusters = "..."')


def build(provider: Provider, resolved: ResolvedExecutor) -> ExecutionProvider:
    """Parsl's SlurmProvider, which asks the queue together with the user's other commands."""
    from parsl.launchers import SingleNodeLauncher, SrunLauncher
    from parsl.providers import SlurmProvider

    queue = SlurmJobs(provider.clusters, provider.status_every, provider.command_timeout)

    class Slurm(SlurmProvider):  # type: ignore[misc, unused-ignore]
        @property
        def status_polling_interval(self) -> int:
            return min(provider.status_every, _LOOK_S)

        def execute_wait(self, cmd: str, timeout: int | None = None) -> tuple[int, str, str]:
            if cmd == _IS_THERE_SACCT:
                return 1, "", "psiflow asks squeue"
            parent: Any = super()
            answer: tuple[int, str, str] = parent.execute_wait(cmd, timeout)
            return answer

        def submit(self, command: str, tasks_per_node: int, job_name: str = "parsl.slurm") -> str:
            job: str = super().submit(command, tasks_per_node, job_name)
            queue.submitted(job)
            return job

        def _status(self) -> None:
            queue.update(self.resources)

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
        launcher=SrunLauncher(overrides=srun_options(provider.nodes)) if provider.nodes > 1 else SingleNodeLauncher(),
    )  # fmt: skip


def problems(provider: Provider) -> list[str]:
    """What SLURM says against this table: an unknown partition, one that is down or too small, an unknown account.

    Raises NoResources where it does not answer.
    """
    try:
        known = slurm_limits.partitions(provider.clusters)
    except OSError:
        return ["sinfo is not found: is this a login node of the cluster?"]
    sentences = []
    unknown = [each for each in provider.partition.split(",") if each and each not in known]
    if unknown:
        sentences.append(
            f"no partition {', '.join(map(repr, unknown))}: there are {', '.join(sorted(known)) or 'none'}"
        )
    default = next((name for name, each in known.items() if each.is_default), "")
    name = provider.partition or default
    for each in name.split(","):
        if each in known and known[each].state != "up":
            sentences.append(f"partition {each!r} is {known[each].state}")
    if name in known:
        sentences += slurm_limits.exceeded(provider, name, known[name])
    accounts = _accounts() if provider.account else set()
    if accounts and provider.account not in accounts:
        sentences.append(f"no account {provider.account!r} of yours: there are {', '.join(sorted(accounts))}")
    return sentences


def refusal(provider: Provider, script: str) -> str:
    """What sbatch says against a script; "" also where there is no sbatch."""
    try:
        return slurm_limits.refusal(script, provider.clusters)
    except OSError:
        return ""


def _accounts() -> set[str]:
    """The accounts of this user; none where SLURM keeps no accounts."""
    try:
        user = f"user={getpass.getuser()}"
        return set(slurm_limits.ask("sacctmgr", "-n", "-P", "show", "assoc", "format=account", user).split())
    except (OSError, KeyError, NoResources):
        return set()
