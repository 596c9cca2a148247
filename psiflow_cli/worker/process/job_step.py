"""What `srun` must be told so that the tasks of a block run side by side, each on its worker's node.

From SLURM 20.11 on, a step that says nothing has all cores and all memory of its nodes, and spreads over all of them:
a second one waits for the end of the first. See srun(1): --exact, --mem.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
from collections.abc import Sequence

_SHARES_CORES = ("--exact", "--exclusive", "--overlap", "--oversubscribe", "-s")
_GIVES_MEMORY = ("--mem", "--mem-per-cpu", "--mem-per-gpu")
_NAMES_NODES = ("--nodes", "-N", "--nodelist", "-w", "--relative", "-r", "--exclude", "-x")
_GIVES_CORES = ("--cpus-per-task", "-c")
_EXACT_SINCE = (20, 11)


def options(launch: Sequence[str], threads: int) -> list[str]:
    """What to add behind `srun`, as far as the launch template does not decide it; [] for another launcher."""
    if not launch or os.path.basename(launch[0]) != "srun" or "SLURM_JOB_ID" not in os.environ:
        return []
    if _version(launch[0]) < _EXACT_SINCE:
        return []
    added = []
    if not _has(launch, _SHARES_CORES):
        added.append("--exact")
        if not _has(launch, _GIVES_CORES):
            added.append(f"--cpus-per-task={threads}")
    if not _has(launch, _GIVES_MEMORY):
        added.append("--mem=0")  # what the job has; it is not taken from other steps
    node = os.environ.get("SLURMD_NODENAME")
    if node and os.environ.get("SLURM_JOB_NUM_NODES", "1") != "1" and not _has(launch, _NAMES_NODES):
        added += ["--nodes=1", f"--nodelist={node}"]
    return added


def _has(words: Sequence[str], names: Sequence[str]) -> bool:
    """Whether one of these options is given, in any of its forms."""
    long = {word.partition("=")[0] for word in words}
    return any(name in long or (len(name) == 2 and any(word.startswith(name) for word in words)) for name in names)


@functools.cache
def _version(srun: str) -> tuple[int, int]:
    """(23, 2) of SLURM 23.02; (0, 0) of what is no srun of SLURM's."""
    try:
        output = subprocess.run([srun, "--version"], capture_output=True, text=True, timeout=30, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0, 0
    match = re.match(r"slurm\S* (\d+)\.(\d+)", output)
    return (int(match[1]), int(match[2])) if match else (0, 0)
