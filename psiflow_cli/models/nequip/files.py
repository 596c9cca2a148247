"""The files of a training and of a model: their names, where they lie, and what they say."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from psiflow_cli.errors import NO_INPUT
from psiflow_cli.models.nequip import nequip_internals
from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.training.growing_file import GrowingFile

if TYPE_CHECKING:
    from psiflow_cli.messages import Epoch, ModelFacts

PACKAGE = ".nequip.zip"
CONFIG = "nequip.yaml"
"""The trainer's whole configuration; `nequip-train -cn nequip` in this folder takes it."""
LOG = "trainer.log"
"""What the last process said; NequIP's own log of all of them is in `hydra/`."""
RECORD = "configuration.json"
"""What is recorded of the configuration with the model."""
HYDRA = "hydra"
CHECKPOINTS = "checkpoints"
LAST = f"{CHECKPOINTS}/last.ckpt"
BEST = f"{CHECKPOINTS}/best.ckpt"
EPOCHS = "epochs.jsonl"
"""One line for each finished epoch."""
MODEL = f"model{PACKAGE}"
"""The best model so far, NequIP's own package; where it lies: `worker.training.delivery`."""
INIT = "init"
"""A copy of the model to start from, with its own suffix: NequIP's checkpoints refer to the file."""


def weights_file(member: str) -> Path:
    """The one packaged model in a member's folder, or the file that was named in place of one."""
    if Path(member).is_file():
        return Path(member)
    packages = sorted(Path(member).glob(f"*{PACKAGE}"))
    if len(packages) != 1:
        problem = f"{member}: {len(packages)} files named *{PACKAGE}, but one is expected"
        raise Fatal(problem, "is this a model bundle of NequIP or Allegro?", NO_INPUT)
    return packages[0]


def describe(path: str | Path) -> ModelFacts:
    """*worker*: what a model file says of itself."""
    return nequip_internals.description(nequip_internals.load(path))


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
