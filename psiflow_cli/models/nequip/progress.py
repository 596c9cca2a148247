"""How far a training is, read from the lines that `checkpoints.Epochs` appends to `epochs.jsonl`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from psiflow_cli.models.nequip.files import EPOCHS
from psiflow_cli.worker.training.growing_file import GrowingFile

if TYPE_CHECKING:
    from psiflow_cli.messages import Epoch


@dataclass
class _Reader:
    """What was read of a growing file; it is looked at every few seconds, and read once."""

    file: GrowingFile
    epochs: dict[int, Epoch] = field(default_factory=dict)


_readers: dict[Path, _Reader] = {}


def progress(workdir: Path) -> list[Epoch]:
    """The finished epochs, in order; a last line that is not whole is left for the next time."""
    path = Path(workdir) / EPOCHS
    if not path.is_file():
        return []
    reader = _readers.get(path)
    if reader is None or reader.file.shrank():
        reader = _readers[path] = _Reader(GrowingFile(path))
    # An epoch that a killed trainer finished but could not save comes twice; the last one counts.
    reader.epochs |= {entry["epoch"]: cast("Epoch", entry) for entry in reader.file.new()}
    return [reader.epochs[number] for number in sorted(reader.epochs)]
