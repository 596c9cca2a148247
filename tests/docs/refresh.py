"""Run pages of the documentation in scratch folders, and put what they print and draw into docs/.

python tests/docs/refresh.py docs/commands/relax.md ...        default: every page with an output or a figure
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from blocks import blocks, figures, play

ROOT = Path(__file__).parents[2]
LARGEST = 60_000
"""Of a figure, in bytes."""


def refresh(page: Path) -> None:
    """Exchange the outputs and figures of one page."""
    with tempfile.TemporaryDirectory(prefix="psiflow-docs-") as name:
        folder = Path(name)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        printed = [
            (played.output, played.printed.rstrip() + "\n")
            for played in play(page, folder, {"PATH": path, "COLUMNS": "88"}, full=True, shorter={})
            if played.output
        ]
        lines = page.read_text(encoding="utf-8").splitlines(keepends=True)
        for output, text in reversed(printed):
            lines[output.line : output.line + output.text.count("\n")] = [text]
        page.write_text("".join(lines), encoding="utf-8")
        for figure in figures(page):
            assert (folder / figure).stat().st_size <= LARGEST, figure
            shutil.copyfile(folder / figure, ROOT / "docs" / "figures" / figure)


if __name__ == "__main__":
    every = sorted((ROOT / "docs").rglob("*.md"))
    given = [Path(name).absolute() for name in sys.argv[1:]]
    for each in given or [p for p in every if figures(p) or any(b.mark.startswith("output") for b in blocks(p))]:
        begun = time.monotonic()
        refresh(each)
        print(f"{each.relative_to(ROOT)}: {time.monotonic() - begun:.0f} s", flush=True)
