"""How far a training is, read from the lines of JSON that MACE appends to its results file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from psiflow_cli.models.mace.files import RESULTS
from psiflow_cli.models.mace.mace_internals import LogEntry, errors
from psiflow_cli.worker.training.growing_file import GrowingFile

if TYPE_CHECKING:
    from psiflow_cli.messages import Epoch


@dataclass
class _Reader:
    """What was read of a growing file; it is looked at every few seconds, and read once."""

    file: GrowingFile
    epochs: dict[int, Epoch] = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)

    def read(self) -> None:
        for entry in self.file.new():
            self._take(cast("LogEntry", entry))

    def _take(self, entry: LogEntry) -> None:
        if entry.get("mode") == "opt":
            self.losses.append(float(entry["loss"]))
            return
        epoch = entry.get("epoch")
        if epoch is not None:
            mean = sum(self.losses) / len(self.losses) if self.losses else None
            # An epoch that a killed trainer finished but could not save comes twice; the last one counts.
            self.epochs[epoch] = {"epoch": epoch, "loss": mean}
            if entry.get("mode") == "eval":
                self.epochs[epoch] |= {"valid_loss": float(entry["loss"])} | errors(entry)
        self.losses.clear()  # also where a trainer starts (no epoch): what it had begun before is not counted


_readers: dict[Path, _Reader] = {}


def progress(workdir: Path) -> list[Epoch]:
    """The finished epochs, in order; a last line that is not whole is left for the next time."""
    epochs: dict[int, Epoch] = {}
    for path in sorted(Path(workdir).glob(f"{RESULTS}/*_train.txt")):
        reader = _readers.get(path)
        if reader is None or reader.file.shrank():
            reader = _readers[path] = _Reader(GrowingFile(path))
        reader.read()
        epochs |= reader.epochs
    return [epochs[number] for number in sorted(epochs)]
