"""Small inputs made here, and what is left of a command."""

from __future__ import annotations

import os
import sys
from pathlib import Path

PSIFLOW = str(Path(sys.executable).with_name("psiflow"))


def copper(count, spread=0.05):
    """Distinct periodic frames of four copper atoms."""
    frames = []
    for i in range(count):
        shift = spread * i / max(1, count - 1)
        frames.append(
            '4\nLattice="3.6 0 0 0 3.6 0 0 0 3.6" Properties=species:S:1:pos:R:3 pbc="T T T"\n'
            f"Cu {shift!r} 0.0 0.0\nCu 1.8 1.8 0.0\nCu 1.8 0.0 1.8\nCu 0.0 1.8 1.8\n"
        )
    return "".join(frames)


def alive(marker):
    """Processes whose command line or environment names `marker`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if marker.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found
