"""The best model so far of a training, in its folder: the file and the facts of it, replaced together.

`facts.json` names the file, which has a folder of its own: a kill between the two leaves the model before.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, cast

from psiflow_cli import atomic_file

if TYPE_CHECKING:
    from psiflow_cli.messages import Delivery, TrainerFacts

FACTS = "facts.json"
WEIGHTS = "weights"
"""The folder of the models: the one that `facts.json` names, and the one before, which somebody may be copying."""


def put(source: Path, name: str, facts: TrainerFacts) -> None:
    """In a trainer's folder, move a whole model file to its place as `name`, and let the facts point to it."""
    before = read(Path())
    place = Path(WEIGHTS, str(facts["epoch"]))
    place.mkdir(parents=True, exist_ok=True)
    source.replace(place / name)
    atomic_file.write(Path(FACTS), json.dumps({**facts, "file": str(place / name)}))
    last_two = {place, Path(before["file"]).parent} if before else {place}
    for other in Path(WEIGHTS).iterdir():
        if other.is_dir() and other not in last_two:
            shutil.rmtree(other, ignore_errors=True)


def read(folder: Path) -> Delivery | None:
    """What a training has delivered; None where there is nothing yet."""
    try:
        facts = cast("Delivery", json.loads((folder / FACTS).read_text()))
    except (OSError, ValueError):
        return None
    return facts if "file" in facts and (folder / facts["file"]).is_file() else None


def is_older(folder: Path, checkpoint: Path) -> bool:
    """Whether there is a checkpoint, and nothing has been delivered since it was written."""
    with contextlib.suppress(FileNotFoundError):
        written = checkpoint.stat().st_mtime_ns
        return read(folder) is None or (folder / FACTS).stat().st_mtime_ns < written
    return False
