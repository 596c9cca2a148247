"""Many small distinct frames, and the noop reference, for measuring all but a reference."""

from __future__ import annotations

import sys
from pathlib import Path

PSIFLOW = str(Path(sys.executable).with_name("psiflow"))
NOOP = str(Path(__file__).with_name("noop.py").absolute())


def write(path: Path, count: int) -> Path:
    """A file of so many waters, each a little different."""
    with path.open("w") as stream:
        for i in range(count):
            stream.write(f"3\n\nO 0 0 {i * 1e-6!r}\nH 0.96 0 0\nH -0.24 0.93 0\n")
    return path


def label(frames: Path, output: Path) -> list[str]:
    """The command that labels them with the reference that does nothing."""
    return [PSIFLOW, "label", str(frames), "--reference", NOOP, "-o", str(output)]
