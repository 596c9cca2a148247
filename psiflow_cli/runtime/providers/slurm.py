"""Jobs of a SLURM cluster, submitted with sbatch."""

from __future__ import annotations

import contextlib
import getpass
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from msgspec import field

from psiflow_cli.errors import BadConfig, NoResources, counted
from psiflow_cli.runtime.batch_queue import slurm_limits, slurm_reasons
from psiflow_cli.runtime.batch_queue.slurm_jobs import SlurmJobs
from psiflow_cli.runtime.executors._launchers import launcher_of
from psiflow_cli.site import schema
from psiflow_cli.site.detect import Machine, megabytes
from psiflow_cli.site.executor import ResolvedExecutor

if TYPE_CHECKING:
    from parsl.providers.base import ExecutionProvider

CANCEL = "scancel"  # the program that ends jobs by their ids
CANCEL_BY_NAME = "--name="
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
    gpu_type: schema.Word = ""  # as the cluster calls it, such as `a100`; goes with `gpus_per_node`
    gres: schema.Word = ""  # other generic resources, such as `nvme:1`, or GPUs the old way: `gpu:a100:4`
    sbatch: list[schema.Line] = field(default_factory=list)
    """Further lines of the script, such as `--mail-type=FAIL`, each without `#SBATCH`."""
    status_every: schema.Count = 30  # how many seconds from one look at the queue to the next

    def __post_init__(self) -> None:
        """Raises ValueError for a variable that would send jobs to a cluster where nobody looks for them."""
        if named := {"SLURM_CLUSTERS", "SBATCH_CLUSTERS"} & set(self.keep_variables):
            raise ValueError(f'keep_variables cannot name {named.pop()}: write clusters = "..."')

    def share(self, here: Machine) -> Machine:
        in_gres = _gpus_in(self.gres)
        if in_gres and self.gpus_per_node not in (0, in_gres):
            problem = (
                f"gres {self.gres!r} asks for {counted(in_gres, 'GPU')}, but gpus_per_node is {self.gpus_per_node}"
            )
            raise BadConfig(problem, "use only gpus_per_node, with gpu_type")
        if self.gpu_type and (in_gres or not self.gpus_per_node):
            raise BadConfig(f"gpu_type {self.gpu_type!r} needs gpus_per_node", "set how many of them a node has")
        gpus = tuple(str(number) for number in range(in_gres or self.gpus_per_node))
        return replace(super().share(here), gpus=gpus)


def _gpus_in(gres: str) -> int:
    """How many GPUs of a node generic resources ask for, as in `gpu:2`, `gpu:a100:4` or `gpu`."""
    asked = (entry.split("=")[-1].split(":") for entry in gres.split(",") if re.match(r"(gres[:/])?gpu\b", entry))
    return sum(int(words[-1]) if words[-1].isdigit() else 1 for words in asked)


def _asked_for(provider: Provider) -> Iterator[str]:
    """Lines for what Parsl asks for in whole GB and without a type, or not in all of its versions."""
    if provider.memory_per_node:
        memory = megabytes(provider.memory_per_node)
        yield f"--mem={memory}M" if memory % 1024 else f"--mem={memory // 1024}g"
    if provider.gpus_per_node and not _gpus_in(provider.gres):
        of_type = f"{provider.gpu_type}:" if provider.gpu_type else ""
        yield f"--gpus-per-node={of_type}{provider.gpus_per_node}"
    if provider.gres:
        yield f"--gres={provider.gres}"


def build(provider: Provider, resolved: ResolvedExecutor) -> ExecutionProvider:
    """Parsl's SlurmProvider, which asks the queue together with the user's other commands."""
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

    lines = [*provider.sbatch, *_asked_for(provider)]
    return Slurm(
        partition=provider.partition or None, account=provider.account or None, qos=provider.qos or None,
        constraint=provider.constraint or None, clusters=provider.clusters or None,
        cores_per_node=provider.cores_per_node,
        scheduler_options="".join(f"#SBATCH {line}\n" for line in lines),
        exclusive=provider.exclusive, launcher=launcher_of(provider, resolved, "srun"),
        **provider.blocks,
    )  # fmt: skip


def problems(provider: Provider) -> list[str]:
    """What SLURM says against this table: an unknown partition, one that is down or too small, an unknown account.

    Raises NoResources where it does not answer.
    """
    try:
        partitions = slurm_limits.partitions(provider.clusters)
    except OSError:
        return ["sinfo was not found: is this a login node of the cluster?"]
    sentences = []
    unknown = [each for each in provider.partition.split(",") if each and each not in partitions]
    if unknown:
        sentences.append(
            f"no partition {', '.join(map(repr, unknown))}: the cluster has {', '.join(sorted(partitions)) or 'none'}"
        )
    default = next((name for name, each in partitions.items() if each.is_default), "")
    name = provider.partition or default
    for each in name.split(","):
        if each in partitions and partitions[each].state != "up":
            sentences.append(f"partition {each!r} is {partitions[each].state}")
    if name in partitions:
        sentences += slurm_limits.exceeded(provider, name, partitions[name])
    accounts = _accounts() if provider.account else set()
    if accounts and provider.account not in accounts:
        sentences.append(f"no account {provider.account!r} of yours: you have {', '.join(sorted(accounts))}")
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


def exclude(provider: Provider, nodes: list[str]) -> str:
    """The last --exclude of a script is the one that counts, so it holds the nodes of the user's own lines, too."""
    return f"#SBATCH --exclude={','.join([*_excluded_by(provider), *nodes])}\n"


def _excluded_by(provider: Provider) -> list[str]:
    lists = [re.match(r"\s*(?:--exclude(?:=|\s+)|-x\s*)(\S+)", line) for line in provider.sbatch]
    return [match[1].strip("\"'") for match in lists if match]


def keep_off(provider: Provider, nodes: list[str], jobs: list[str]) -> None:
    """Jobs that wait were submitted without these nodes in their --exclude."""
    excluded = ",".join([*_excluded_by(provider), *nodes])
    for job in jobs:
        _output_of("scontrol", *_cluster(provider), "update", f"JobId={job}", f"ExcNodeList={excluded}")


def nodes_of(provider: Provider, job: str) -> str:
    """As the controller remembers for some minutes, and accounting for longer; "" if neither does."""
    shown = re.search(r"\sNodeList=(\S+)", _output_of("scontrol", *_cluster(provider), "-o", "show", "job", job))
    if shown and shown[1] != "(null)":
        return shown[1]
    listed = _output_of("sacct", *_cluster(provider), "-X", "-n", "-P", "-o", "nodelist", "-j", job).split()
    return listed[0] if len(listed) == 1 else ""


def _output_of(*command: str) -> str:
    """What a command of SLURM prints; "" where it fails."""
    with contextlib.suppress(OSError, NoResources):
        return slurm_limits.ask(*command)
    return ""


def _cluster(provider: Provider) -> list[str]:
    return [f"--clusters={provider.clusters}"] if provider.clusters else []
