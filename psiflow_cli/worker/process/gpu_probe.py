"""What PyTorch makes of the GPUs that it sees, and why its build does not fit the driver.

It asks in a process of its own, in the workers' environment: a driver may crash or hang. That prints JSON.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from typing import TYPE_CHECKING, TypedDict

from psiflow_cli.errors import counted

if TYPE_CHECKING:
    import torch

_PATIENCE_S = 300  # importing torch from a slow disk for the first time takes minutes


class Facts(TypedDict):
    """The build, the driver, and what became of a tensor on each device."""

    torch: str
    cuda: str
    """Version that torch was built for, or ""."""
    hip: str
    archs: list[str]
    """Of GPUs that it has kernels for, such as `sm_80`."""
    driver: int
    """The newest CUDA that the driver can run, such as 12040 for 12.4; 0 for no driver of NVIDIA's."""
    error: str
    """Why no device could be counted, or ""."""
    devices: list[tuple[str, str]]
    """Name, and what went wrong, or ""."""


def problems(wanted: int, seen: str) -> list[str]:
    """Sentences on what is wrong with the GPUs of this process, of which it wants so many.

    `seen` are the variables that say which it sees; without any it may see more.
    """
    argv = [sys.executable, __file__]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    except subprocess.TimeoutExpired:
        return [f"torch did not list its GPUs within {_PATIENCE_S} s"]
    try:
        facts: Facts = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        words = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return [f"torch could not list its GPUs: {words[-1][:300]}"]
    return explain(facts, wanted, seen)


def explain(facts: Facts, wanted: int, seen: str) -> list[str]:
    """Sentences about the facts."""
    build, devices = f"torch {facts['torch']} in {sys.prefix}", facts["devices"]
    if not facts["cuda"] and not facts["hip"]:
        return [only_for_cpus(facts["torch"], sys.prefix)]
    broken = [f"cuda:{number} ({name}): {why}" for number, (name, why) in enumerate(devices) if why]
    if (broken or not devices) and (sentence := _misfit(facts)):
        return [f"{build} {sentence}"]
    if broken:
        kernels = f"; it has kernels for {', '.join(facts['archs'])}" if "kernel image" in broken[0] else ""
        return [f"{build} cannot compute on {broken[0]}{kernels}"]
    if len(devices) < wanted or (seen and len(devices) > wanted):
        why = ", ".join(filter(None, (seen, facts["error"]))) or "no variable names them"
        return [f"{build} sees {counted(len(devices), 'GPU')} instead of {wanted}: {why}"]
    return []


def only_for_cpus(version: str, prefix: str) -> str:
    """The sentence about such a torch in this environment."""
    return f"torch {version} in {prefix} is built only for CPUs: install a build for CUDA or ROCm there"


def _misfit(facts: Facts) -> str:
    """How the build does not fit the driver; "" if the two fit, as far as can be told."""
    built, driver = facts["cuda"], facts["driver"]
    if facts["hip"]:
        return (
            f"is built for ROCm {facts['hip']}, but the GPU is from NVIDIA: install a build for CUDA" if driver else ""
        )
    if not driver:
        return f"is built for CUDA {built}, but there is no NVIDIA driver (libcuda.so.1)"
    if int(built.split(".")[0]) > driver // 1000:  # of a major version, any driver runs any minor one
        newest = f"{driver // 1000}.{driver % 1000 // 10}"
        return (
            f"is built for CUDA {built}, but the driver supports only up to {newest}: install a build for CUDA "
            f"{driver // 1000}"
        )
    return ""


def ask() -> Facts:
    """Import torch and try each device."""
    import torch

    facts: Facts = {
        "torch": torch.__version__, "cuda": torch.version.cuda or "", "hip": getattr(torch.version, "hip", None) or "",
        "archs": [], "driver": _driver(), "error": "", "devices": [],
    }  # fmt: skip
    try:
        facts["archs"] = torch.cuda.get_arch_list()
        torch.cuda.current_device()
    except Exception as error:  # a driver's words: RuntimeError, AssertionError and more
        facts["error"] = str(error).strip().splitlines()[0]
    facts["devices"] = [_tried(torch.device("cuda", number)) for number in range(torch.cuda.device_count())]
    return facts


def _tried(device: torch.device) -> tuple[str, str]:
    """Name of a device, and what goes wrong with a tensor on it, or ""."""
    import torch

    try:
        total = (torch.arange(8.0, device=device) ** 2).sum().item()
        why = "" if total == 140.0 else f"the sum of eight squares is {total}"
        return torch.cuda.get_device_name(device), why
    except Exception as error:
        return "?", str(error).strip().splitlines()[0]


def _driver() -> int:
    """The newest CUDA that NVIDIA's driver can run, by cuDriverGetVersion; 0 without one."""
    version = ctypes.c_int()
    try:
        failed = ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version))
    except OSError:
        return 0
    return 0 if failed else version.value


if __name__ == "__main__":
    del sys.path[0]  # this file's folder has modules of any name
    print(json.dumps(ask()))
