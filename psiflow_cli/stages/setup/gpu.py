"""What goes into the environment of workers with NVIDIA GPUs: torch for the CUDA of their driver, and fast kernels."""

from __future__ import annotations

import re
import subprocess

from psiflow_cli import protocols, registry
from psiflow_cli.errors import UsageError

INDEXES = {
    "cu12": "https://download.pytorch.org/whl/cu126",
    "cu13": "https://download.pytorch.org/whl/cu130",
}
"""Where pip finds torch for each major version of CUDA, of which a driver runs any minor one."""
AUTO = "auto"


def cuda(requested: str) -> str:
    """`cu12` or `cu13`, as asked for or as the driver of this host takes. Raises UsageError where it does not say."""
    if requested != AUTO:
        return requested
    try:
        output = subprocess.run(["nvidia-smi"], capture_output=True, text=True, timeout=60, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        output = ""
    match = re.search(r"CUDA(?: \w+)? Version: *(\d+)", output)
    known = [name for name in INDEXES if match and int(name.removeprefix("cu")) <= int(match[1])]
    if known:
        return known[-1]
    if match:
        raise UsageError(
            f"--gpu: the driver of this host runs CUDA {match[1]}, but torch is built only for {', '.join(INDEXES)}",
            "install a newer driver",
        )
    raise UsageError(
        "--gpu: nvidia-smi on this host does not show which CUDA the driver runs",
        f"run it on a node with a GPU, or give --gpu {' or --gpu '.join(INDEXES)}",
    )


def kernels(family: str, version: str) -> list[str]:
    """The packages with fast kernels for a family that pip installs without a compiler."""
    module = registry.load("models", family)
    paths = module.FAST_PATHS if isinstance(module, protocols.HasFastPaths) else ()
    install = [path.install for path in paths if not path.needs_compiler]
    return list(dict.fromkeys(" ".join(install).format(cuda=version.removeprefix("cu")).split()))
