"""P10: the most memory that the command's process holds, for more and more frames; with --full for a million."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import water
from pairs import peak_memory, record


def main(full: bool = False) -> None:
    """Label so many frames, split them, label one more, and do it all again."""
    for count in (10_000, 100_000, *((1_000_000,) if full else ())):
        with tempfile.TemporaryDirectory() as name:
            frames, output = Path(name, "in.xyz"), Path(name, "out.xyz")
            command = water.label(water.write(frames, count), output)
            first, took = peak_memory(command, name)
            record(f"P10 {count} frames, MB ({count / took:.0f} frames/s)", first, "<= 200")
            split = [water.PSIFLOW, "split", str(frames), "--parts", "a=0.9,b=0.1"]
            record(f"P10 {count} frames split, MB", peak_memory(split, name)[0], "<= 200")
            with frames.open("a") as stream:
                stream.write("2\n\nH 0 0 0\nH 0 0 0.74\n")
            record(f"P10 {count} frames and one more, MB", peak_memory(command, name)[0], "<= 200")
            record(f"P10 {count} frames again, MB", peak_memory(command, name)[0], "<= 200")


if __name__ == "__main__":
    main("--full" in sys.argv)
