"""Which of a SLURM cluster's partitions a user's jobs can run in, and the least that their nodes have.

From what `scontrol show partition` and `scontrol show node` say: https://slurm.schedmd.com/scontrol.html
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from psiflow_cli import duration
from psiflow_cli.errors import counted
from psiflow_cli.site.detect import Machine

_UNFIT = {"DOWN", "ERROR", "FAIL", "FAILING", "FUTURE", "UNKNOWN", "DRAIN", "DRAINED", "DRAINING", "NOT_RESPONDING"}
_SHORTEST_S = 300.0


@dataclass(frozen=True)
class Nodes:
    """The nodes of a partition that have GPUs, or those that have none; (least, most) of what each has."""

    name: str
    """Of the provider: the partition's, or that and `-gpu` where only some of its nodes have GPUs."""
    partition: str
    count: int
    cores: tuple[int, int]  # CPUs in SLURM's sense: hardware threads where cores have several
    threads_per_core: int
    memory_mb: tuple[int, int]  # 0: SLURM does not count it
    gpus: tuple[int, int]
    max_time: float | None  # s; None: as long as one likes
    default: bool
    claimed: str = ""  # what SLURM says beyond what this host, which is such a node, has


def usable(
    partitions: list[dict[str, str]], nodes: list[dict[str, str]], accounts: list[str], here: Machine
) -> tuple[list[Nodes], list[str]]:
    """The partitions that jobs of this user can run in, and the others, each with the reason."""
    fitting: list[Nodes] = []
    left_out = []
    for facts in partitions:
        name = facts["PartitionName"]
        members = [node for node in nodes if name in node.get("Partitions", "").split(",")]
        reason = _useless(facts, members, accounts)
        if reason:
            left_out.append(f"{name} ({reason})")
            continue
        fit = [node for node in members if _fit(node)]
        with_gpus, without = ([n for n in fit if bool(_gpus(n)) is has] for has in (True, False))
        if without:
            fitting.append(_nodes(name, facts, without, here))
        if with_gpus:
            fitting.append(_nodes(f"{name}-gpu" if without else name, facts, with_gpus, here))
    return fitting, left_out


def _useless(facts: dict[str, str], members: list[dict[str, str]], accounts: list[str]) -> str:
    limit, least = _limit(facts), facts.get("MinNodes", "0")
    allowed = facts.get("AllowAccounts", "ALL").split(",")
    if facts.get("State") != "UP":
        return facts.get("State", "?").lower()
    if not any(map(_fit, members)):
        return "all of its nodes are down" if members else "no nodes"
    if limit is not None and limit < _SHORTEST_S:
        return f"jobs end after {facts['MaxTime']}"
    if least.isdigit() and int(least) > 1:
        return f"only for jobs of {least} nodes or more"
    if accounts and "ALL" not in allowed and not set(allowed) & set(accounts):
        return "not for your account"
    return "only for root" if facts.get("RootOnly") == "YES" and os.geteuid() else ""


def _fit(node: dict[str, str]) -> bool:
    state = node.get("State", "UNKNOWN")
    return not (state.endswith("*") or _UNFIT & set(re.split(r"[+*~#!%$@^-]", state)))


def _nodes(name: str, facts: dict[str, str], members: list[dict[str, str]], here: Machine) -> Nodes:
    """The least and the most that nodes of a partition give to a job."""
    cores = [_capped(int(n.get("CPUEfctv") or n["CPUTot"]), facts.get("MaxCPUsPerNode")) for n in members]
    memory = [
        _capped(int(n.get("RealMemory", 0)) - int(n.get("MemSpecLimit", 0)), facts.get("MaxMemPerNode"))
        for n in members
    ]
    # In a job this process has a share only; else a node that is this host has no more than this process sees.
    mine = not here.slurm_job and any(n.get("NodeHostName") == os.uname().nodename for n in members)
    claims = []
    if mine and max(cores) > here.cores:
        claims.append(counted(max(cores), "core"))
        cores = [min(number, here.cores) for number in cores]
    if mine and max(memory) > here.memory_mb:
        claims.append(f"{max(memory)} MB")
        memory = [min(number, here.memory_mb) for number in memory]
    per_core = facts.get("MaxMemPerCPU", "")
    if per_core.isdigit() and int(per_core):
        memory = [min(m, int(per_core) * c) for m, c in zip(memory, cores, strict=True)]
    gpus = [_gpus(n) for n in members]
    return Nodes(
        name=name, partition=facts["PartitionName"], count=len(members), cores=(min(cores), max(cores)),
        threads_per_core=max(int(n.get("ThreadsPerCore", 1)) for n in members),
        memory_mb=(min(memory), max(memory)), gpus=(min(gpus), max(gpus)), max_time=_limit(facts),
        default=facts.get("Default") == "YES", claimed=" and ".join(claims),
    )  # fmt: skip


def _capped(number: int, limit: str | None) -> int:
    return min(number, int(limit)) if limit and limit.isdigit() and int(limit) else number


def _gpus(node: dict[str, str]) -> int:
    """GPUs of a node: `gpu:a100:4(S:0-1),gpu:v100:2` has six."""
    listed = re.sub(r"\([^)]*\)", "", node.get("Gres", ""))
    counts = [entry.rpartition(":")[2] for entry in listed.split(",") if entry.split(":")[0] == "gpu"]
    return sum(int(count) if count.isdigit() else 1 for count in counts)


def _limit(facts: dict[str, str]) -> float | None:
    text = facts.get("MaxTime", "")
    return float(duration.parse(text)) if text[:1].isdigit() else None
