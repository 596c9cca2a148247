"""P9: `psiflow train` against the trainer's own command with the same configuration, on 3BPA.

The trainer gets the very files that psiflow gave it, in a folder of its own, so both must end with the same loss.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import water
from pairs import ratio, record, seconds

os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
DATA = Path(__file__).parents[2] / "shared" / "data"
SITE = """
[providers.here]
[resources.task]
[executors.default]
provider = "here"
resources = "task"
[use]
default = "default"
"""
FRAMES = 100
SETTINGS = ("num_channels=16", "batch_size=10")


def subset(folder: Path) -> list[str]:
    """The first frames of 3BPA, and its isolated atoms."""
    lines = (DATA / "3bpa-train-300K.xyz").read_text().splitlines(keepends=True)
    size = int(lines[0]) + 2
    (folder / "train.xyz").write_text("".join(lines[: FRAMES * size]))
    (folder / "valid.xyz").write_text("".join(lines[FRAMES * size : (FRAMES + 20) * size]))
    return [str(folder / "train.xyz"), str(DATA / "3bpa-isolated-atoms.xyz"), "--valid", str(folder / "valid.xyz")]


def train(folder: Path, frames: list[str], epochs: int) -> float:
    """`psiflow train`, from nothing to the bundle."""
    for path in folder.glob("m.model*"):
        shutil.rmtree(path)
    (folder / "site.toml").write_text(SITE)
    given = [word for setting in (*SETTINGS, f"max_num_epochs={epochs}") for word in ("--set", setting)]
    where = ["--site", str(folder / "site.toml"), "-o", str(folder / "m.model")]
    return seconds([water.PSIFLOW, "train", *frames, "--arch", "mace", *given, *where])


def by_hand(folder: Path) -> float:
    """`mace_run_train` on what psiflow wrote for it."""
    alone = folder / "alone"
    shutil.rmtree(alone, ignore_errors=True)
    alone.mkdir()
    (work,) = folder.glob("m.model.run/work/*/member-0")
    for name in ("train.xyz", "valid.xyz", "mace.yaml"):
        shutil.copy(work / name, alone / name)
    command = str(Path(sys.executable).with_name("mace_run_train"))
    return seconds([command, "--config", "mace.yaml"], cwd=str(alone))


def last_loss(folder: Path) -> float:
    """The validation loss of the last epoch."""
    (results,) = folder.glob("results/*_train.txt")
    epochs = [json.loads(line) for line in results.read_text().splitlines()]
    return float([e["loss"] for e in epochs if e.get("mode") == "eval" and e.get("epoch") is not None][-1])


def main(full: bool = False) -> None:
    """Train with both; with `full` for longer, and more often."""
    if not DATA.is_dir():
        print("P9: no data sets in ../shared/data: not measured")
        return
    epochs, repeats = (40, 3) if full else (12, 3)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        frames = subset(folder)
        pairs = [(train(folder, frames, epochs), by_hand(folder)) for _ in range(repeats)]
        (work,) = folder.glob("m.model.run/work/*/member-0")
        ours, theirs = last_loss(work), last_loss(folder / "alone")
        start = train(folder, frames, 1) - by_hand(folder)
    what = f"P9 MACE, {FRAMES} frames, {epochs} epochs"
    ratio(f"{what}, s", pairs, "<= 1.03")
    ratio(f"{what}, without our start, s", [(a - start, b) for a, b in pairs], "<= 1.03")
    record(f"{what}: validation loss", ours / theirs, "<= 1.0", f"{ours:.8g}", f"{theirs:.8g}")


if __name__ == "__main__":
    main("--full" in sys.argv)
