"""Models that were compiled on a machine: kept in `compiled/` beside a member's weights, with a record of each.

A record says what the file is (sha256), of which weights, and on what machine it was made: elsewhere it could be wrong,
or end the process with an illegal instruction.
"""

from __future__ import annotations

import hashlib
import json
import platform
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from psiflow_cli.messages import CompiledRecord, Machine

FOLDER = "compiled"


def place(member: str | Path, device: str, target: str, ending: str) -> Path:
    """Where a member's model for a device and a target is kept; its record has `.json` in place of `ending`."""
    return Path(member) / FOLDER / f"{device}-{target}{ending}"


def record(path: Path, ending: str) -> Path:
    """The record of a compiled model."""
    return path.with_name(path.name.removesuffix(ending) + ".json")


def valid(path: Path, ending: str, weights: str) -> CompiledRecord | None:
    """The record of a compiled model, if this is what was made of the weights with this sha256."""
    try:
        entry = cast("CompiledRecord", json.loads(record(path, ending).read_text(encoding="utf-8")))
        same = entry["weights"] == weights and entry["sha256"] == sha256(path)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return entry if same else None


def sha256(path: Path) -> str:
    """The sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def machine(device: str) -> Machine:
    """This one."""
    import torch

    kind = torch.cuda.get_device_name() if device == "cuda" else hashlib.sha256(_cpu().encode()).hexdigest()[:16]
    return {"torch": str(torch.__version__), "system": platform.system(), "device": kind}


def _cpu() -> str:
    """The instructions that this CPU knows, or as much of it as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.machine())
