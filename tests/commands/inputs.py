"""Small inputs made here, and what is left of a command."""

from __future__ import annotations

import os
import sys
from pathlib import Path

PSIFLOW = str(Path(sys.executable).with_name("psiflow"))

WATER = """3
Properties=species:S:1:pos:R:3 pbc="F F F"
O 0.0 0.0 0.0
H 0.96 0.0 0.0
H -0.24 0.93 0.0
"""
BOX = """6
Lattice="5.0 0.0 0.0 0.0 5.2 0.0 0.0 0.0 5.5" Properties=species:S:1:pos:R:3 pbc="T T T"
O 0.0 0.0 0.0
H 0.96 0.0 0.0
H -0.24 0.93 0.0
O 2.6 2.4 2.7
H 3.5 2.5 2.9
H 2.3 3.3 2.6
"""
ATOMS = """1
Properties=species:S:1:pos:R:3 config_type=IsolatedAtom multiplicity=2 pbc="F F F"
H 0.0 0.0 0.0
1
Properties=species:S:1:pos:R:3 config_type=IsolatedAtom multiplicity=3 pbc="F F F"
O 0.0 0.0 0.0
"""
REFERENCE = """
SUMMARY = "for a test"
REQUIRES = ()
FRAME_INPUTS = ()
DEFAULT_TASK_SECONDS = 0.0

def settings(input_file, options):
    return dict(options)

def check(settings, elements):
    pass

"""
"""What a reference in a file has besides its `label`."""
_SETTINGS = {
    "num_channels": 8, "max_L": 0, "max_ell": 2, "correlation": 2, "r_max": 4.0,
    "batch_size": 4, "lr": 0.03, "energy_weight": 10, "swa": False,
}  # fmt: skip
SMALL = tuple(word for key, value in _SETTINGS.items() for word in ("--set", f"{key}={value}"))
"""Settings of a MACE model that learns water in seconds, well enough to move it."""


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
