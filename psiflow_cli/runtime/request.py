"""What an invocation asks for, and the checksums by which an equal one is known."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from psiflow_cli.errors import CannotCreate, UsageError


@dataclass(frozen=True)
class Request:
    command: str
    settings: Mapping[str, object]
    """All that decides the result, in builtins; equal settings and inputs mean equal outputs."""
    inputs: list[str]
    outputs: list[str]
    overwrite: bool = False
    spooled: dict[str, str] = field(default_factory=dict)
    """Where an input that is not a file (stdin) has been stored: name -> path."""
    cache: bool = True  # False: nothing that a finished invocation computed is used again

    @property
    def fingerprint(self) -> str:
        return fingerprint({"command": self.command, "settings": self.settings})


def fingerprint(data: object) -> str:
    """16 hex digits of the sha256 of canonical JSON."""
    return hashlib.sha256(json.dumps(data, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]


def sha256(path: Path) -> str:
    """The sha256 of a file, or of a directory's names and contents; what was added to a model later does not count."""
    if path.is_dir():
        whole = hashlib.sha256()
        for part in sorted(p for p in path.rglob("*") if p.is_file() and not _is_added(p.relative_to(path))):
            whole.update(f"{part.relative_to(path)}\0{sha256(part)}\0".encode())
        return whole.hexdigest()
    with path.open("rb") as stream:
        if sys.version_info >= (3, 11):
            return hashlib.file_digest(stream, "sha256").hexdigest()
        whole = hashlib.sha256()
        while chunk := stream.read(1 << 20):
            whole.update(chunk)
        return whole.hexdigest()


def _is_added(part: Path) -> bool:
    """Whether a file of a model is a compiled form of it, or its calibration (or what a kill left of that)."""
    return "compiled" in part.parts[:-1] or (len(part.parts) == 1 and "calibration.json" in part.name)


def check_outputs(outputs: Iterable[str], inputs: Iterable[str]) -> None:
    """Raise CannotCreate where an output is an input or has no place to go to, UsageError where two are one file."""
    real_inputs = {os.path.realpath(path) for path in inputs}
    paths: set[str] = set()
    for output in outputs:
        if os.path.realpath(output) in paths:
            raise UsageError(f"{output}: used for two outputs", "give each output its own name")
        paths.add(os.path.realpath(output))
        if os.path.realpath(output) in real_inputs:
            raise CannotCreate(f"{output}: is an input of this command", "choose another --output")
        parent = Path(output).absolute().parent
        if not parent.is_dir():
            raise CannotCreate(f"{output}: the folder {parent} does not exist", "create it, or choose another --output")
        if not os.access(parent, os.W_OK):
            raise CannotCreate(f"{output}: no permission to write in {parent}", "choose another --output")
