"""Run pages of the documentation in scratch folders, and put what they print and draw into docs/.

python tests/docs/refresh.py docs/commands/relax.md ...        default: every page with an output or a figure
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from blocks import blocks, figures, keep, play

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
import warm  # noqa: E402  (`tests` itself may be another package's name)
from commands.springs import SITE  # noqa: E402

LARGEST = 60_000
"""Of a figure, in bytes."""


def refresh(page: Path, environment: dict[str, str]) -> None:
    """Exchange the outputs and figures of one page."""
    with tempfile.TemporaryDirectory(prefix="psiflow-docs-") as name:
        folder = Path(name)
        printed = [
            (played.output, played.printed.rstrip() + "\n")
            for played in play(page, folder, environment, full=True, shorter={})
            if played.output
        ]
        keep(page, folder)
        lines = page.read_text(encoding="utf-8").splitlines(keepends=True)
        for output, text in reversed(printed):
            lines[output.line : output.line + output.text.count("\n")] = [text]
        page.write_text("".join(lines), encoding="utf-8")
        for figure in figures(page):
            target = ROOT / "docs" / "figures" / figure
            if (folder / figure).exists():  # what a browser shows is not made by the page
                shutil.copyfile(folder / figure, target)
            if target.suffix == ".png":
                shrink(target)
            assert target.stat().st_size <= LARGEST, figure


def shrink(picture: Path) -> None:
    """Make a PNG as wide as a page at most, and of few colours; the default method makes blue and green lines alike."""
    from PIL import Image

    with Image.open(picture) as image:
        small = image.convert("RGB")
        small.thumbnail((900, 1800))
        small.quantize(48, method=Image.Quantize.MAXCOVERAGE).save(picture, optimize=True)


if __name__ == "__main__":
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])  # one thread in a task, for numbers that repeat
    beside = Path(tempfile.mkdtemp(prefix="psiflow-refresh-"))
    atexit.register(shutil.rmtree, beside)
    (beside / "site.toml").write_text(SITE)
    program = str(Path(sys.executable).with_name("psiflow"))
    warm.server("matplotlib.pyplot", "tblite.ase").program(beside / "psiflow", program)
    words = {"PSIFLOW_SITE": str(beside / "site.toml"), **os.environ, "COLUMNS": "88"}
    words["PATH"] = f"{beside}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    every = sorted((ROOT / "docs").rglob("*.md"))
    given = [Path(name).absolute() for name in sys.argv[1:]]
    for each in given or [p for p in every if figures(p) or any(b.mark.startswith("output") for b in blocks(p))]:
        begun = time.monotonic()
        refresh(each, words)
        print(f"{each.relative_to(ROOT)}: {time.monotonic() - begun:.0f} s", flush=True)
