"""How far a training is, read from the lines of JSON that MACE appends to its results file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psiflow_cli.models.mace.files import RESULTS
from psiflow_cli.worker.process.growing_file import GrowingFile

Wire = dict[str, Any]

_SCALED = {
    "rmse_e_per_atom": ("rmse_e_meV_per_atom", 1e3),
    "mae_e_per_atom": ("mae_e_meV_per_atom", 1e3),
    "rmse_f": ("rmse_f_meV_per_A", 1e3),
    "mae_f": ("mae_f_meV_per_A", 1e3),
    "rmse_stress": ("rmse_stress_meV_per_A3", 1e3),
    "mae_stress": ("mae_stress_meV_per_A3", 1e3),
}
"""MACE's metrics of the validation set, in eV and Å, and our names for them."""


@dataclass
class _Reader:
    """What was read of a growing file; it is looked at every few seconds, and read once."""

    file: GrowingFile
    epochs: dict[int, Wire] = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)

    def read(self) -> None:
        for entry in self.file.new():
            self._take(entry)

    def _take(self, entry: Wire) -> None:
        if entry.get("mode") == "opt":
            self.losses.append(float(entry["loss"]))
            return
        epoch = entry.get("epoch")
        if epoch is not None:
            mean = sum(self.losses) / len(self.losses) if self.losses else None
            named = {ours: entry[key] * scale for key, (ours, scale) in _SCALED.items() if key in entry}
            # An epoch that a killed trainer finished but could not save comes twice; the last one counts.
            self.epochs[epoch] = {"epoch": epoch, "loss": mean, "valid_loss": float(entry["loss"]), **named}
        self.losses.clear()  # also where a trainer starts (no epoch): what it had begun before is not counted


_readers: dict[Path, _Reader] = {}


def progress(workdir: Path) -> list[Wire]:
    """The finished epochs, in order; `loss` is the mean over the training batches, the rest is of the validation set.

    Errors in meV/atom, meV/Å and meV/Å³. A last line that is not whole is left for the next time.
    """
    epochs: dict[int, Wire] = {}
    for path in sorted(Path(workdir).glob(f"{RESULTS}/*_train.txt")):
        reader = _readers.get(path)
        if reader is None or reader.file.shrank():
            reader = _readers[path] = _Reader(GrowingFile(path))
        reader.read()
        epochs |= reader.epochs
    return [epochs[number] for number in sorted(epochs)]
