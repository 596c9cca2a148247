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
    epoch: int | None = None
    heads: dict[str | None, Epoch] = field(default_factory=dict)
    """What was measured of each head in this epoch."""

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
            if epoch != self.epoch or entry.get("head") in self.heads:
                self.epoch, self.heads = epoch, {}
            loss = self.epochs[epoch]["loss"] if self.heads else mean
            self.epochs[epoch] = {"epoch": epoch, "loss": loss, **_pace(entry)}
            if entry.get("mode") == "eval":
                self.heads[entry.get("head")] = {"valid_loss": float(entry["loss"])} | errors(entry)
                self.epochs[epoch] |= _mean([*self.heads.values()])
        self.losses.clear()  # also where a trainer starts (no epoch): what it had begun before is not counted


def _pace(entry: LogEntry) -> Epoch:
    pace: Epoch = {"lr": entry["lr"]} if "lr" in entry else {}
    return {**pace, "stage": entry["stage"]} if "stage" in entry else pace


def _mean(measured: list[Epoch]) -> Epoch:
    """The mean over the heads of what was measured of them all."""
    values = [cast("dict[str, float]", each) for each in measured]
    common = [key for key in values[0] if all(key in each for each in values)]
    return cast("Epoch", {key: sum(each[key] for each in values) / len(values) for key in common})


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
