"""Models that were compiled on a machine: kept in `compiled/` beside a member's weights, with a record of each.

A record says what the file is (sha256), of which weights, and on what machine it was made: elsewhere it could be wrong,
or end the process with an illegal instruction.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

from psiflow_cli.worker.failures import Fatal

if TYPE_CHECKING:
    from psiflow_cli.messages import CompiledModel, CompiledRecord, Machine

FOLDER = "compiled"


def place(member: str | Path, device: str, target: str, ending: str) -> Path:
    """Where a member's model for a device and a target is kept; its record has `.json` in place of `ending`."""
    return Path(member) / FOLDER / f"{device}-{target}{ending}"


def record(path: Path, ending: str) -> Path:
    """The record of a compiled model."""
    return path.with_name(path.name.removesuffix(ending) + ".json")


class NotBuilt(Exception):
    """A compiled model that is not there, and would take minutes to make."""


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[None]:
    """While this process alone makes a compiled model; another one is waited for. Raises Fatal where it may not."""
    try:
        path.parent.mkdir(exist_ok=True)
        stream = path.with_name(f".{path.name}.lock").open("w")
        fcntl.flock(stream, fcntl.LOCK_EX)
    except OSError as error:
        raise Fatal(f"{path.parent}: {error.strerror}", "copy the bundle to a folder that you can write to") from None
    with stream:
        yield


def store(path: Path, ending: str, compiled: CompiledModel, weights: str) -> None:
    """Put a compiled model into its place, then the record without which it is not used."""
    temporary = path.with_name(f".{path.name}.part")
    shutil.copyfile(compiled["path"], temporary)
    facts: CompiledRecord = {
        "sha256": sha256(temporary), "weights": weights, "dtype": compiled["dtype"],
        "elements": compiled["elements"], "machine": compiled["machine"],
    }  # fmt: skip
    os.replace(temporary, path)
    temporary.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, record(path, ending))


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
