"""Ask SLURM what a user of its cluster may use, for `psiflow site init`."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

from psiflow_cli.errors import NoResources
from psiflow_cli.site.detect import Machine
from psiflow_cli.site.partitions import Nodes, usable
from psiflow_cli.worker.process import inherited_variables

_TIMEOUT_S = 60


@dataclass(frozen=True)
class Cluster:
    name: str
    nodes: list[Nodes]
    left_out: list[str]  # partitions of no use, each with the reason
    accounts: list[str]  # that jobs of this user are billed to, the default one first
    federated: bool = False  # named by $SLURM_CLUSTERS: jobs must say so too


def ask(here: Machine) -> Cluster | str:
    """What SLURM has, or why it cannot be asked; raises NoResources if nothing of it can be used."""
    listed = _run("sinfo", "-h", "-o", "%R|%a")
    if isinstance(listed, str):
        return listed
    # scontrol shows partitions of other groups too, sinfo does not
    visible = {line.partition("|")[0] for line in listed.stdout.splitlines() if "|" in line}
    nodes, partitions = (_records(_run("scontrol", "-o", "show", kind)) for kind in ("node", "partition"))
    name = _name()
    accounts = _accounts(name)
    nodes_of_use, left_out = usable([p for p in partitions if p["PartitionName"] in visible], nodes, accounts, here)
    if not nodes_of_use:
        raise NoResources(f"no partition of {name} can be used: {', '.join(left_out) or 'SLURM shows none'}")
    return Cluster(name, nodes_of_use, left_out, accounts, bool(_federated()))


def _records(done: subprocess.CompletedProcess[str] | str) -> list[dict[str, str]]:
    """scontrol's lines of `Key=value`; of a key that a free text at the end repeats, the first counts."""
    if isinstance(done, str):
        raise NoResources(f"SLURM does not list its nodes: {done}")
    return [dict(reversed(re.findall(r"(\S+?)=(\S*)", line))) for line in done.stdout.splitlines() if "Name=" in line]


def _name() -> str:
    done = _run("scontrol", "show", "config")
    match = None if isinstance(done, str) else re.search(r"^ClusterName\s*=\s*(\S+)", done.stdout, re.MULTILINE)
    return _federated() or (match[1] if match else "slurm")


def _federated() -> str:
    """The one cluster that SLURM's commands are told to speak of."""
    named = os.environ.get("SLURM_CLUSTERS", "")
    return "" if "," in named or named == "all" else named


def _accounts(cluster: str) -> list[str]:
    """The accounts of this user, first the one that the shell names for sbatch; perhaps none where SLURM keeps none."""
    named = os.environ.get("SBATCH_ACCOUNT", "")  # which jobs do not inherit
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        return []
    default = _words(_run("sacctmgr", "-n", "-P", "show", "user", user, "format=defaultaccount"))
    every = _words(_run("sacctmgr", "-n", "-P", "show", "assoc", f"user={user}", "format=cluster,account"))
    on_cluster = [
        account for where, _, account in (row.partition("|") for row in every) if where == cluster.lower() and account
    ]
    first = [named] if named and (named in on_cluster or not on_cluster) else []
    return list(dict.fromkeys([*first, *(d for d in default if d in on_cluster), *on_cluster]))


def _words(done: subprocess.CompletedProcess[str] | str) -> Iterable[str]:
    return () if isinstance(done, str) else done.stdout.split()


def _run(*command: str) -> subprocess.CompletedProcess[str] | str:
    """What a command of SLURM said, or in a few words why it failed."""
    if not shutil.which(command[0]):
        return f"{command[0]} is not installed here"
    try:
        environment = inherited_variables.for_queue("slurm", keep=["SLURM_CLUSTERS"] if _federated() else [])
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False, env=environment)
    except subprocess.TimeoutExpired:
        return f"{command[0]} did not answer within {_TIMEOUT_S} s"
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    complaints = done.stderr.strip().splitlines() or [f"{command[0]} ended with exit code {done.returncode}"]
    return done if done.returncode == 0 else complaints[-1].strip()
