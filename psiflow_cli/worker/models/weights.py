"""Whether the weights are still those that the command has checked: a model may be replaced while it is used."""

from __future__ import annotations

import hashlib
import os

from psiflow_cli.errors import STOPPED
from psiflow_cli.worker.failures import Fatal

_checked: dict[str, tuple[tuple[int, int, int], str]] = {}
"""What each file was when it was read last, and its sha256."""


def check(weights: dict[str, str]) -> None:
    """Raise Fatal (STOPPED) unless every file has the sha256 that is given for it; cheap after the first time."""
    for path, digest in weights.items():
        try:
            facts = os.stat(path)
            now = (facts.st_ino, facts.st_mtime_ns, facts.st_size)
            if path not in _checked or _checked[path][0] != now:
                with open(path, "rb") as stream:
                    _checked[path] = now, hashlib.sha256(stream.read()).hexdigest()
            same = _checked[path][1] == digest
        except FileNotFoundError:
            same = False
        if not same:
            raise Fatal(f"{path}: changed while it was in use (sha256)", "run the same command again", STOPPED)
