"""The site file that `psiflow site init` writes: what SLURM or this machine has, and a first guess at how to use it."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from psiflow_cli import atomic_file, duration, toml
from psiflow_cli.errors import CannotCreate
from psiflow_cli.site import cluster as slurm
from psiflow_cli.site.cluster import Cluster
from psiflow_cli.site.detect import Machine, machine
from psiflow_cli.site.load import folders
from psiflow_cli.site.partitions import Nodes
from psiflow_cli.site.starter_tasks import Place, header, line, tasks

_LONG_S = 4 * 3600.0  # partitions whose jobs end sooner are for trying things, and come last
_BLOCK_S = 12 * 3600.0
_HEAD = """\
description = {description}

# Written by psiflow site init from {source}; change what you like.
# psiflow-site(5) explains every key, {check} tries it.
"""


@dataclass(frozen=True)
class Starter:
    path: str
    text: str
    name: str  # by which commands find it from any directory, as a shell reads it
    cluster: str  # name, or ""
    no_slurm: str  # why there is no cluster, or ""


def make(output: str, overwrite: bool) -> Starter:
    """Ask what there is, and write the file.

    Without an output it is named after the cluster or the host and written here; `-` writes nothing.
    Raises CannotCreate, and NoResources for a cluster of no use.
    """
    if output:
        _refuse(Path(output), overwrite)
    here = machine()
    cluster = slurm.ask(here)
    name = cluster.name if isinstance(cluster, Cluster) else os.uname().nodename.partition(".")[0]
    path = Path(output or f"{_file_name(name)}.toml")
    called = "NAME" if output == "-" else _called(path)
    text = for_cluster(cluster, called) if isinstance(cluster, Cluster) else for_machine(here, name, called)
    if output != "-":
        _refuse(path, overwrite)
        _write(path, text, overwrite)
    if isinstance(cluster, Cluster):
        return Starter(str(path), text, called, cluster.name, "")
    return Starter(str(path), text, called, "", cluster)


def _called(path: Path) -> str:
    """A site's name where it is looked up from everywhere, else its absolute path."""
    absolute = Path(os.path.abspath(path))
    everywhere = absolute.parent.resolve() in [folder.resolve() for folder in folders() if folder.is_absolute()]
    return shlex.quote(path.stem if everywhere else str(absolute))


def _file_name(name: str) -> str:
    """A name for the file that shadows neither the default site nor the project's defaults."""
    plain = re.sub(r"[^A-Za-z0-9_.-]", "-", name).lstrip(".-") or "site"
    return f"{plain}-site" if plain in ("local", "psiflow") else plain


def _refuse(path: Path, overwrite: bool) -> None:
    if str(path) == "-":
        return
    if path.is_dir():
        raise CannotCreate(f"{path}: is a directory", "give a file")
    if os.path.lexists(path) and not overwrite:
        raise CannotCreate(f"{path}: exists already", "replace it with --overwrite, or choose another with -o FILE")


def _write(path: Path, text: str, overwrite: bool) -> None:
    """Whole or not at all; another file that came up in the meantime is not lost."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        atomic_file.write(temporary, text, 0o666)
        try:
            if overwrite:
                os.replace(temporary, path)
            else:
                os.link(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except FileExistsError:
        _refuse(path, overwrite)
    except OSError as error:
        raise CannotCreate(f"{path}: {error.strerror}", "choose another file with -o") from None


def for_cluster(cluster: Cluster, name: str) -> str:
    """A site file for a SLURM cluster: labels on CPUs, models on GPUs if there are any."""
    head = _HEAD.format(
        description=toml.value(
            f"{cluster.name}: a SLURM cluster, {_many(len({n.partition for n in cluster.nodes}), 'partition')}"
        ),
        source="the output of sinfo, scontrol and sacctmgr",
        check=f"psiflow site check --submit {name}",
    )
    left_out = "".join(f"# Left out: {text}\n" for text in cluster.left_out)
    providers = "".join("\n" + "\n".join(_slurm(nodes, cluster)) + "\n" for nodes in cluster.nodes)
    labels = max(cluster.nodes, key=lambda n: (not n.gpus[0], not _called_gpu(n), *_worth(n), n.count * n.cores[0]))
    models = max(
        cluster.nodes, key=lambda n: (n.gpus[0] > 0, _called_gpu(n), *_worth(n), n.count * (n.gpus[0] or n.cores[0]))
    )
    return head + left_out + providers + tasks(_place(labels), _place(models), most_ranks=16)


def for_machine(here: Machine, host: str, name: str) -> str:
    memory, gpus = here.memory_mb // 1024, len(here.gpus)
    head = _HEAD.format(
        description=toml.value(f"{host}: this machine, {_many(here.cores, 'core')}, {memory} GB, {_many(gpus, 'GPU')}"),
        source="what this process may use",
        check=f"psiflow site check --submit {name}",
    )
    all_of_it = Place("here", here.cores, 1, 0, gpus, None)
    comment = "the cores, memory and GPUs that a process may use, looked up each time"
    return f"{head}\n{header('providers.here')}\n{line('type', 'local', comment)}\n{tasks(all_of_it, all_of_it, 4)}"


def _many(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'s' * (number > 1)}"


def _called_gpu(nodes: Nodes) -> bool:
    return "gpu" in nodes.partition.lower()


def _worth(nodes: Nodes) -> tuple[bool, bool]:
    return nodes.max_time is None or nodes.max_time >= _LONG_S, nodes.default


def _place(nodes: Nodes) -> Place:
    return Place(
        nodes.name, nodes.cores[0], nodes.threads_per_core, nodes.memory_mb[0] // 1024, nodes.gpus[0], _block(nodes)
    )


def _block(nodes: Nodes) -> float:
    return min(_BLOCK_S, nodes.max_time or _BLOCK_S)


def _slurm(nodes: Nodes, cluster: Cluster) -> Iterator[str]:
    ranges = [
        f"{least} to {most} {what}"
        for (least, most), what in ((nodes.cores, "cores"), (nodes.memory_mb, "MB"), (nodes.gpus, "GPUs"))
        if least != most
    ]
    yield f"{header(f'providers.{toml.key(nodes.name)}'):33}# {_many(nodes.count, 'node')} up"
    if nodes.claimed:
        yield f"# SLURM reports {nodes.claimed}, but this host, which is one of them, has less."
    if ranges:
        yield f"# The smallest of its nodes, which have {', '.join(ranges)}. Choose between them with constraint."
    yield line("type", "slurm")
    if cluster.federated:
        yield line("clusters", cluster.name)
    yield line("partition", nodes.partition)
    if cluster.accounts:
        others = cluster.accounts[1:]
        yield line("account", cluster.accounts[0], f"or {', '.join(others)}" if others else "")
    threads = f"; hardware threads, {nodes.threads_per_core} per core" if nodes.threads_per_core > 1 else ""
    yield line("cores_per_node", nodes.cores[0], f"a block is an entire node; part of a node may start sooner{threads}")
    if nodes.memory_mb[0] >= 1024:
        yield line("memory_per_node", f"{nodes.memory_mb[0] // 1024} GB")
    if nodes.gpus[0]:
        yield line("gpus_per_node", nodes.gpus[0])
    elif _called_gpu(nodes):
        yield "# SLURM counts no GPUs here: if there are any, set gpus_per_node, and request them in sbatch if needed"
    yield line("max_blocks", min(4, nodes.count), "at the same time")
    limit = "any" if nodes.max_time is None else duration.format(nodes.max_time)
    yield line("walltime", duration.format(_block(nodes)), f"of one block; the partition allows {limit}")
