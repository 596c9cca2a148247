"""How far a training is, read from the lines that `checkpoints.Epochs` appends to `epochs.jsonl`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psiflow_cli.models.nequip.files import EPOCHS
from psiflow_cli.worker.process.growing_file import GrowingFile

Wire = dict[str, Any]


@dataclass
class _Reader:
    """What was read of a growing file; it is looked at every few seconds, and read once."""

    file: GrowingFile
    epochs: dict[int, Wire] = field(default_factory=dict)


_readers: dict[Path, _Reader] = {}


def progress(workdir: Path) -> list[Wire]:
    """The finished epochs, in order; `loss` is the mean over the training batches, the rest is of the validation set.

    Errors in meV/atom, meV/Å and meV/Å³. A last line that is not whole is left for the next time.
    """
    path = Path(workdir) / EPOCHS
    if not path.is_file():
        return []
    reader = _readers.get(path)
    if reader is None or reader.file.shrank():
        reader = _readers[path] = _Reader(GrowingFile(path))
    # An epoch that a killed trainer finished but could not save comes twice; the last one counts.
    reader.epochs |= {entry["epoch"]: entry for entry in reader.file.new()}
    return [reader.epochs[number] for number in sorted(reader.epochs)]
