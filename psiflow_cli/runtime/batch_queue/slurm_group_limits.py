"""Whether a job by itself asks for more than all jobs under a limit may have together: then it never starts."""

from __future__ import annotations

import re
from collections.abc import Iterator

from psiflow_cli.errors import NoResources
from psiflow_cli.runtime.batch_queue.slurm_limits import ask

_SIZES = {"": 1.0, "K": 1 / 1024, "M": 1.0, "G": 1024.0, "T": 1024.0**2, "P": 1024.0**3}
"""In MB for memory, the only resource with a unit."""
_OF_GROUPS = re.compile(r"(?P<whose>Assoc|QOS)?(Grp|Max)(?!\w*(Jobs|Submit|Minutes))\w+")
"""Reasons of a limit to resources that jobs share."""


def beyond(job: str, reason: str, clusters: str) -> str:
    """`alone asks for cpu=40, more than the 16 of QOS normal`; "" where no limit is known that it exceeds alone."""
    if not (match := _OF_GROUPS.match(reason)):
        return ""
    try:
        of_job = _of_account if match["whose"] == "Assoc" else _of_qos
        return next(of_job(job, [f"--clusters={clusters}"] if clusters else []), "")
    except (OSError, NoResources, ValueError):
        return ""


def _of_qos(job: str, where: list[str]) -> Iterator[str]:
    facts = _facts(ask("scontrol", *where, "-o", "show", "job", job))
    names = [facts.get("QOS", "")]
    if partition := facts.get("Partition", ""):
        names.append(_facts(ask("scontrol", *where, "-o", "show", "partition", partition)).get("QoS", ""))
    for name in names:
        if name not in ("", "(null)", "N/A"):
            of_qos = ["where", f"name={name}", "format=grptres,maxtrespu,maxtrespa"]
            for row in ask("sacctmgr", "-n", "-P", "show", "qos", *of_qos).splitlines():
                yield from _compared(facts, row.split("|"), f"QOS {name}")


def _of_account(job: str, where: list[str]) -> Iterator[str]:
    """Of the account itself, and of this user in it; a QOS may lift its limits, but is not the reason then."""
    facts = _facts(ask("scontrol", *where, "-o", "show", "job", job))
    cluster = re.search(r"^ClusterName\s*=\s*(\S+)", ask("scontrol", *where, "show", "config"), re.MULTILINE)
    account, user = facts.get("Account", "(null)"), facts.get("UserId", "").partition("(")[0]
    if cluster and account != "(null)":
        of_account = [f"account={account}", f"cluster={cluster[1]}", "format=user,grptres"]
        for row in ask("sacctmgr", "-n", "-P", "show", "assoc", "where", *of_account).splitlines():
            whose, _, limits = row.partition("|")
            if whose in ("", user):
                yield from _compared(facts, [limits], f"account {account}")


def _facts(line: str) -> dict[str, str]:
    return dict(reversed(re.findall(r"(\S+?)=(\S*)", line)))


def _compared(job: dict[str, str], limits: list[str], whose: str) -> Iterator[str]:
    requested = _amounts(job.get("ReqTRES") or job.get("TRES", ""))
    for text in limits:
        for name, limit in _amounts(text).items():
            if requested.get(name, 0) > limit:
                unit = " MB" if name == "mem" else ""
                yield f"alone asks for {name}={requested[name]:g}{unit}, more than the {limit:g}{unit} of {whose}"


def _amounts(tres: str) -> dict[str, float]:
    """`cpu=40,mem=1.5T,gres/gpu=2` in numbers; memory in MB."""
    amounts = re.findall(r"([\w/:.-]+)=(\d+(?:\.\d+)?)([KMGTP]?)", tres)
    return {name: float(number) * _SIZES[unit] for name, number, unit in amounts}
