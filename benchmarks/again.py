"""P6: a finished run of 10,000 frames again, and its status, against one `ase.io.read` of its output."""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

import water
from pairs import compare, record, seconds

FRAMES = 10_000
READ = "import sys, ase.io; assert len(ase.io.read(sys.argv[1], ':')) == int(sys.argv[2])"


def main(full: bool = False) -> None:
    """Measure both in a folder of their own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        output = folder / "out.xyz"
        command = water.label(water.write(folder / "in.xyz", FRAMES), output)
        seconds(command)
        compare(
            f"P6 a finished run of {FRAMES} frames again / ase.io.read, s",
            lambda: seconds(command),
            lambda: seconds([sys.executable, "-c", READ, str(output), str(FRAMES)]),
            "<= 0.5",
            repeats=9 if full else 5,
        )
        status = [seconds([water.PSIFLOW, "status", name]) for _ in range(6)][1:]
        record("P6 its status, s", statistics.median(status), "<= 0.3")


if __name__ == "__main__":
    main()
