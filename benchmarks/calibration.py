"""How well a committee's spread tells its errors on 3BPA, before and after `psiflow evaluate --calibrate`.

    python benchmarks/calibration.py [EPOCHS]

Four small MACE models are trained on 60 frames and calibrated with 100 others; the table is of 300 more.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from pathlib import Path

import water
from pairs import seconds
from training import DATA, SITE

PARTS = {"train": 60, "valid": 15, "calibration": 100, "test": 300}
SETTINGS = ("num_channels=16", "max_L=0", "r_max=4.0", "batch_size=5", "default_dtype=float32")


def split(folder: Path) -> None:
    """Files of frames drawn at random, none of them in two."""
    lines = (DATA / "3bpa-train-300K.xyz").read_text().splitlines(keepends=True)
    size = int(lines[0]) + 2
    frames = ["".join(lines[start : start + size]) for start in range(0, len(lines), size)]
    random.Random(0).shuffle(frames)
    for part, number in PARTS.items():
        (folder / f"{part}.xyz").write_text("".join(frames[:number]))
        del frames[:number]


def main(epochs: int) -> None:
    """Train, calibrate, and print what the calibration is worth on frames that neither has seen."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        split(folder)
        (folder / "site.toml").write_text(SITE)
        model, site = folder / "committee.model", ["--site", str(folder / "site.toml")]
        given = [word for setting in (*SETTINGS, f"max_num_epochs={epochs}") for word in ("--set", setting)]
        frames = [str(folder / "train.xyz"), str(DATA / "3bpa-isolated-atoms.xyz")]
        train = [*frames, "--valid", str(folder / "valid.xyz"), "--arch", "mace", "--members", "4", *given]
        evaluate = [water.PSIFLOW, "evaluate", "--model", str(model), *site]
        seconds([water.PSIFLOW, "train", *train, *site, "-o", str(model)])
        seconds([*evaluate, str(folder / "calibration.xyz"), "--calibrate"])
        seconds([*evaluate, str(folder / "test.xyz"), "-o", str(folder / "out.xyz")])
        summary = json.loads((folder / "out.xyz.run" / "run.json").read_text())["result"]["summary"]
        print(f"{summary['table']}\n{summary['spread_table']}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
