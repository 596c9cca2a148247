"""What this process may use: cores, memory, GPUs and the nodes of the enclosing SLURM job."""

from __future__ import annotations

import itertools
import math
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from psiflow_cli.values import quantities


@dataclass(frozen=True)
class Machine:
    """The share of a machine that belongs to this process."""

    cores: int
    memory_mb: int
    gpus: tuple[str, ...]
    nodes: int
    slurm_job: str


def machine() -> Machine:
    """Look at affinity, cgroups, `SLURM_*`, `CUDA_VISIBLE_DEVICES` and /proc."""
    job = os.environ.get("SLURM_JOB_ID", "")
    return Machine(
        cores=_cores(), memory_mb=_memory_mb(), gpus=_gpus(),
        nodes=_integer(os.environ.get("SLURM_JOB_NUM_NODES") or os.environ.get("SLURM_NNODES")) or 1 if job else 1,
        slurm_job=job,
    )  # fmt: skip


def beside_its_job() -> bool:
    """Whether this process belongs to a SLURM job but runs on no node of it: salloc may leave its shell where it was.

    Then srun reaches the nodes, and what this host has does not matter.
    """
    return "SLURM_JOB_ID" in os.environ and "SLURMD_NODENAME" not in os.environ and bool(shutil.which("srun"))


def _cores_of_a_node() -> int | None:
    """What the job has on each of its nodes, or on the one with least: `16(x2),8` in SLURM's words."""
    counts = re.findall(r"(\d+)(?:\(x\d+\))?(?:,|$)", os.environ.get("SLURM_JOB_CPUS_PER_NODE", ""))
    return min(map(int, counts)) if counts else None


def _integer(text: str | None) -> int | None:
    match = re.match(r"\d+", text or "")
    return int(match[0]) if match else None


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _cgroup(controller: str, *files: str) -> list[str]:
    """What these files of one controller say in this process's cgroup and in those above it (v2, or v1)."""
    texts = []
    for line in _read("/proc/self/cgroup").splitlines() or ["0::/"]:
        _, controllers, place = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = f"/sys/fs/cgroup/{controller}" if controllers else "/sys/fs/cgroup"
        steps = [part for part in place.split("/") if part and part != ".."]
        for depth in range(len(steps) + 1):
            folder = "/".join([root, *steps[:depth]])
            texts += [" ".join(filter(None, (_read(f"{folder}/{file}") for file in files)))]
    return [text for text in texts if text]


def _cores() -> int:
    """CPUs of the affinity mask, capped by the cgroups' quotas and by SLURM's CPUs on this node."""
    if beside_its_job() and (there := _cores_of_a_node()):
        return there
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limits = [cores]
    quotas = [*_cgroup("cpu", "cpu.max"), *_cgroup("cpu", "cpu.cfs_quota_us", "cpu.cfs_period_us")]
    for quota in quotas:  # "max 100000" or "200000 100000"; v1 has -1 for no limit
        words = quota.split()
        if len(words) == 2 and words[0].isdigit() and int(words[1]):
            limits.append(int(words[0]) // int(words[1]))
    slurm = _integer(os.environ.get("SLURM_CPUS_ON_NODE"))
    if os.environ.get("SLURM_JOB_ID") and slurm:
        limits.append(slurm)
    return max(1, min(limits))


def _memory_mb() -> int:
    """The least of the machine's memory, the cgroups' limits and SLURM's share of this node, in MB."""
    limits = [] if beside_its_job() else _memory_limits()
    if os.environ.get("SLURM_JOB_ID"):
        per_node = _integer(os.environ.get("SLURM_MEM_PER_NODE"))
        per_core = _integer(os.environ.get("SLURM_MEM_PER_CPU"))
        cores = _integer(os.environ.get("SLURM_CPUS_ON_NODE")) or _cores_of_a_node()
        limits += [mb for mb in (per_node, per_core and cores and per_core * cores) if mb]
    return min(limits or _memory_limits(), default=1024)


def _memory_limits() -> list[int]:
    """MB that this host has, and that its cgroups allow."""
    limits = []
    total = re.search(r"MemTotal:\s+(\d+) kB", _read("/proc/meminfo"))
    if total:
        limits.append(int(total[1]) // 1024)
    for text in (*_cgroup("memory", "memory.max"), *_cgroup("memory", "memory.limit_in_bytes")):
        limit = _integer(text)
        if limit:
            limits.append(limit // 1024**2)
    return limits


def _gpus() -> tuple[str, ...]:
    """Identifiers of the GPUs that CUDA, or AMD's HIP, would show this process."""
    if beside_its_job():
        asked = re.search(r"(\d+)$", os.environ.get("SLURM_GPUS_PER_NODE", ""))
        return tuple(map(str, range(int(asked[1])))) if asked else ()
    amd = os.path.exists("/dev/kfd")
    # the innermost first: HIP numbers what ROCR leaves
    names = (
        ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES") if amd else ("CUDA_VISIBLE_DEVICES",)
    )
    visible = next((os.environ[name] for name in names if name in os.environ), None)
    if visible is not None:
        named = (g.strip() for g in visible.split(","))
        return tuple(itertools.takewhile(lambda g: g not in ("", "-1", "NoDevFiles"), named))  # as CUDA reads it
    if amd:
        nodes = Path("/sys/class/kfd/kfd/topology/nodes").glob("*/properties")  # CPUs, too, which have no SIMD units
        return tuple(str(n) for n in range(sum(bool(re.search(r"simd_count [1-9]", _read(str(f)))) for f in nodes)))
    if not Path("/proc/driver/nvidia/gpus").is_dir():
        return ()
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return _listed(listed)


def _listed(listed: str) -> tuple[str, ...]:
    """The GPUs of `nvidia-smi -L` by number; by name where one is divided, and has MIG instances in its place."""
    whole = re.findall(r"^GPU (\d+):.*?(?:\(UUID: (.+?)\))?$", listed, re.MULTILINE)
    parts = re.split(r"(?m)^GPU \d+:", listed)[1:]
    instances = [re.findall(r"^\s+MIG .*\(UUID: (.+?)\)", part, re.MULTILINE) for part in parts]
    if not any(instances):
        return tuple(number for number, _ in whole)
    return tuple(name for (_, uuid), mig in zip(whole, instances, strict=True) for name in mig or [uuid])


def megabytes(text: str) -> int:
    """`4 GB`, `500 MB`, `1.5 GiB` in MB of 1024² bytes, as SLURM counts; raises ValueError."""
    try:
        amount = quantities.number(text, "MB")
    except ValueError:
        amount = math.nan
    if not 0 < amount < math.inf or text.strip()[-1].isdigit():
        raise ValueError(f"{text!r} is not an amount of memory with its unit ({quantities.units('MB')})")
    return max(1, int(amount))
