"""How much sooner a training that starts from the old model is as good as one from nothing, after new data on 3BPA.

A model of 100 frames is there; 20 more come. Both trainings get all 120 and the same 40 frames for validation. Counted
are epochs, which are the same work for both, until the errors are within 3 % (forces) and 25 % (energies) of what the
training from nothing has at its end; two seeds differ by as much.
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
AS_GOOD = (1.03, 1.25)
SETTINGS = ("num_channels=8", "max_ell=2", "correlation=2", "r_max=4.0", "batch_size=5")
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


def until(curve: list[Epoch], goal: Epoch) -> int | None:
    """How many epochs it took until forces and energies were both as good."""
    limits = [limit * error for limit, error in zip(AS_GOOD, goal[1:], strict=True)]
    reached = (count for count, epoch in enumerate(curve, 1) if epoch[1] <= limits[0] and epoch[2] <= limits[1])
    return next(reached, None)


def main(full: bool = False) -> None:
    """Train the old model, then the new one twice; with `full` for longer."""
    if not DATA.is_dir():
        print("retrain: no data sets in ../shared/data: not measured")
        return
    epochs = 150 if full else 40
    scratch_for, tuned_for = f"max_num_epochs={epochs}", f"max_num_epochs={epochs // 3}"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = (DATA / "3bpa-train-300K.xyz").read_text().splitlines(keepends=True)
        size = int(lines[0]) + 2
        for part, begin, end in (("old", 0, OLD), ("new", 0, NEW), ("valid", NEW, NEW + VALID)):
            (folder / f"{part}.xyz").write_text("".join(lines[begin * size : end * size]))
        (folder / "site.toml").write_text(SITE)
        train(folder, "old.xyz", "old.model", scratch_for, *SETTINGS)
        scratch = train(folder, "new.xyz", "scratch.model", scratch_for, *SETTINGS)
        tuned = train(folder, "new.xyz", "tuned.model", tuned_for, "--init", str(folder / "old.model"), "batch_size=5")
    for called, (took, forces, energies) in (("from nothing", scratch[-1]), ("from the old model", tuned[-1])):
        print(f"{called}: {forces:.1f} meV/Å, {energies:.2f} meV/atom at the end, {took:.0f} s of steps")
    peer, ours = until(scratch, scratch[-1]), until(tuned, scratch[-1])
    if peer is None or ours is None:
        print("retrain: the training from the old model was never as good")
        return
    record("retrain after 20 % new data", ours / peer, "<= 0.5", f"{ours} epochs", f"{peer} epochs")


if __name__ == "__main__":
    main("--full" in sys.argv)
