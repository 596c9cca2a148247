"""How much sooner a training that starts from the old model is as good as one from nothing, after new data on 3BPA.

A model of 100 frames is there; 20 more come. Both trainings get all 120 and the same 40 frames for validation. Counted
are the seconds of the trainer's own steps until the error of the forces is that which the training from nothing has at
its end.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import water
from pairs import record, seconds
from training import DATA, SITE

os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
OLD, NEW, VALID = 100, 120, 40
SETTINGS = ("num_channels=16", "max_ell=2", "correlation=2", "r_max=4.5", "batch_size=5")
Epoch = tuple[float, float, float]
"""Seconds of training so far, and the validation RMSE of forces (meV/Å) and energies (meV/atom)."""


def train(folder: Path, frames: str, name: str, *given: str) -> list[Epoch]:
    """`psiflow train` on a file; what each epoch reached."""
    words = [word for setting in given if "=" in setting for word in ("--set", setting)]
    more = [setting for setting in given if "=" not in setting]
    data = [str(folder / frames), str(DATA / "3bpa-isolated-atoms.xyz"), "--valid", str(folder / "valid.xyz")]
    where = ["--site", str(folder / "site.toml"), "-o", str(folder / name)]
    seconds([water.PSIFLOW, "train", *data, "--arch", "mace", *more, *words, *where])
    return epochs(folder / f"{name}.run")


def epochs(run: Path) -> list[Epoch]:
    """The epochs of a training, from the trainer's own file."""
    (results,) = run.glob("work/*/member-0/results/*_train.txt")
    took, reached = 0.0, []
    for entry in map(json.loads, results.read_text().splitlines()):
        if entry["mode"] == "opt":
            took += entry["time"]
        elif entry["epoch"] is not None:
            reached.append((took, 1e3 * entry["rmse_f"], 1e3 * entry["rmse_e_per_atom"]))
    return reached


def until(curve: list[Epoch], forces: float) -> Epoch | None:
    """The first epoch whose forces are as good."""
    return next((epoch for epoch in curve if epoch[1] <= forces), None)


def main(full: bool = False) -> None:
    """Train the old model, then the new one twice; with `full` for longer."""
    if not DATA.is_dir():
        print("retrain: no data sets in ../shared/data: not measured")
        return
    length = f"max_num_epochs={200 if full else 40}"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = (DATA / "3bpa-train-300K.xyz").read_text().splitlines(keepends=True)
        size = int(lines[0]) + 2
        for part, begin, end in (("old", 0, OLD), ("new", 0, NEW), ("valid", NEW, NEW + VALID)):
            (folder / f"{part}.xyz").write_text("".join(lines[begin * size : end * size]))
        (folder / "site.toml").write_text(SITE)
        train(folder, "old.xyz", "old.model", length, *SETTINGS)
        scratch = train(folder, "new.xyz", "scratch.model", length, *SETTINGS)
        tuned = train(folder, "new.xyz", "tuned.model", length, "--init", str(folder / "old.model"), "batch_size=5")
    # the model that is delivered is the best one of the end
    goal = min(forces for _, forces, _ in scratch[len(scratch) // 2 :])
    peer, ours = until(scratch, goal), until(tuned, goal)
    best = min(forces for _, forces, _ in tuned)
    print(f"from nothing: {goal:.1f} meV/Å after {len(scratch)} epochs; from the old model: {best:.1f} meV/Å at best")
    if peer is None or ours is None:
        print(f"retrain: the training from the old model never came to {goal:.1f} meV/Å", file=sys.stderr)
        return
    record("retrain after 20 % new data", ours[0] / peer[0], "<= 0.5", f"{ours[0]:.3g} s", f"{peer[0]:.3g} s")


if __name__ == "__main__":
    main("--full" in sys.argv)
