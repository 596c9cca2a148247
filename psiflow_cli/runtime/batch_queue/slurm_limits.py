"""What SLURM's partitions can give to a job, and what of that a site asks too much of, in numbers."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field

from psiflow_cli import duration
from psiflow_cli.errors import NoResources
from psiflow_cli.site.detect import megabytes
from psiflow_cli.site.schema import BatchProvider
from psiflow_cli.worker.process import inherited_variables

_FORMAT = "%P|%a|%l|%s|%c|%m|%D|%G"
_NO_ANSWER = "is this a login node of the cluster? If so, its controller may be down: try again later"
_UNREACHABLE = re.compile(r"[Uu]nable to contact|[Ss]ocket timed out|[Cc]onnection|[Cc]ommunication")


@dataclass
class Partition:
    state: str
    max_time: str
    max_nodes: str  # of a job
    is_default: bool
    kinds: list[tuple[int, int, int, int]] = field(default_factory=list)
    """Cores, MB, nodes and GPUs of each kind of its nodes."""

    def most(self, quantity: int) -> int:
        return max((kind[quantity] for kind in self.kinds), default=0)


def partitions(clusters: str) -> dict[str, Partition]:
    """The partitions that sinfo shows. Raises NoResources where SLURM does not answer, OSError without sinfo."""
    by_name: dict[str, Partition] = {}
    for line in ask("sinfo", "-h", "-e", "-o", _FORMAT, *([f"--clusters={clusters}"] if clusters else [])).splitlines():
        words = line.strip().split("|", 7)
        if len(words) == 8:  # and not the name of the cluster
            name, state, limit, sizes, *numbers, gres = words
            default = Partition(state, limit, sizes.partition("-")[2], name.endswith("*"))
            partition = by_name.setdefault(name.rstrip("*"), default)
            cores, memory, nodes = (int(re.match(r"\d*", number)[0] or 0) for number in numbers)  # type: ignore[index]
            partition.kinds.append((cores, memory, nodes, _gpus(gres)))
    return by_name


def _gpus(gres: str) -> int:
    """`gpu:a100:4(S:0-1),gpu:v100:2` has six."""
    entries = [entry.split(":") for entry in re.sub(r"\([^)]*\)", "", gres).split(",")]
    counts = [entry[-1] if len(entry) > 1 else "1" for entry in entries if entry[0] == "gpu"]
    return sum(int(count) if count.isdigit() else 1 for count in counts)


def exceeded(provider: BatchProvider, name: str, partition: Partition) -> Iterator[str]:
    """What a block asks for beyond what a partition has: both numbers, and the key of the site."""
    where = f"partition {name!r}"
    limit = partition.max_time
    if limit[:1].isdigit() and (provider.block_walltime or 0) > duration.parse(limit):
        yield f"walltime {provider.walltime} is more than {where} allows: {limit}"
    memory = megabytes(provider.memory_per_node) if provider.memory_per_node else 0
    nodes = sum(kind[2] for kind in partition.kinds)
    most = min(nodes, int(partition.max_nodes)) if partition.max_nodes.isdigit() else nodes
    for key, requested, has, unit in (
        ("cores_per_node", provider.cores_per_node, partition.most(0), "cores on a node"),
        ("memory_per_node", memory, partition.most(1), "MB on a node"),
        ("gpus_per_node", provider.gpus_per_node, partition.most(3), "GPUs on a node"),
        ("nodes", provider.nodes, most, "nodes for a job"),
    ):
        if requested > has and partition.kinds:
            yield f"{key}: {requested} requested, but {where} has {has} {unit}"


def refusal(script: str, clusters: str) -> str:
    """What `sbatch --test-only` says against a script; "" if it would be taken. Raises OSError without sbatch."""
    cluster = [f"--clusters={clusters}"] if clusters else []
    done = _run(["sbatch", "--test-only", *cluster], script)
    words = [line.removeprefix("sbatch: error: ").strip() for line in done.stderr.splitlines() if line.strip()]
    complaint = "; ".join(dict.fromkeys(word.removeprefix("allocation failure: ") for word in words))
    if done.returncode and _UNREACHABLE.search(complaint):
        raise NoResources(f"sbatch --test-only: {complaint}", _NO_ANSWER)
    return f"sbatch --test-only: {complaint or f'exit code {done.returncode}'}" if done.returncode else ""


def ask(*command: str) -> str:
    """What a command of SLURM prints. Raises NoResources where it fails, OSError where there is none."""
    done = _run(list(command))
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        problem = f"{command[0]}: {lines[-1].strip().removeprefix(f'{command[0]}: ')}"
        raise NoResources(problem, _NO_ANSWER)
    return done.stdout


def _run(argv: list[str], text: str = "") -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            argv, input=text, capture_output=True, text=True, errors="replace", timeout=60, check=False,
            env=inherited_variables.for_queue("slurm"),
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise NoResources(f"{argv[0]}: no answer within a minute", _NO_ANSWER) from None
