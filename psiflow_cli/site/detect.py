"""What this process may use: cores, memory, GPUs and the nodes of the enclosing SLURM job."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path


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
        cores=_cores(),
        memory_mb=_memory_mb(),
        gpus=_gpus(),
        nodes=_integer(os.environ.get("SLURM_JOB_NUM_NODES") or os.environ.get("SLURM_NNODES")) or 1 if job else 1,
        slurm_job=job,
    )


def _integer(text: str | None) -> int | None:
    match = re.match(r"\d+", text or "")
    return int(match[0]) if match else None


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _cores() -> int:
    """CPUs of the affinity mask, capped by the cgroup's quota and by SLURM's CPUs on this node."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limits = [cores]
    quota = _read("/sys/fs/cgroup/cpu.max").split()  # cgroup v2: "max 100000" or "200000 100000"
    if len(quota) == 2 and quota[0] != "max":
        limits.append(int(quota[0]) // int(quota[1]))
    slurm = _integer(os.environ.get("SLURM_CPUS_ON_NODE"))
    if os.environ.get("SLURM_JOB_ID") and slurm:
        limits.append(slurm)
    return max(1, min(limits))


def _memory_mb() -> int:
    """The least of the machine's memory, the cgroup's limit and SLURM's share of this node, in MB."""
    limits = []
    total = re.search(r"MemTotal:\s+(\d+) kB", _read("/proc/meminfo"))
    if total:
        limits.append(int(total[1]) // 1024)
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        limit = _integer(_read(path))
        if limit:
            limits.append(limit // 1024**2)
    if os.environ.get("SLURM_JOB_ID"):
        per_node = _integer(os.environ.get("SLURM_MEM_PER_NODE"))
        if per_node:
            limits.append(per_node)
    return min(limits, default=1024)


def _gpus() -> tuple[str, ...]:
    """Identifiers of the GPUs that CUDA would show this process."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return tuple(g.strip() for g in visible.split(",") if g.strip() not in ("", "-1", "NoDevFiles"))
    if not Path("/proc/driver/nvidia/gpus").is_dir():
        return ()
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(str(i) for i, line in enumerate(listed.splitlines()) if line.startswith("GPU "))
