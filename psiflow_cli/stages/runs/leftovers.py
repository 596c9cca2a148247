"""What of a run directory can be deleted, and what is lost with it.

Only names that psiflow gives are looked at, and symbolic links are neither followed nor removed: what else lies there
is somebody's own. What a run that has not ended well may need to go on, or to be understood, stays.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli.runtime import journal
from psiflow_cli.runtime.logs.archive import FINISHED
from psiflow_cli.runtime.request import sha256
from psiflow_cli.runtime.rundir import temporary
from psiflow_cli.stages.core import retention
from psiflow_cli.stages.core.finished_units import FinishedUnits, belongs_to
from psiflow_cli.stages.runs.status import RunState

if TYPE_CHECKING:
    from psiflow_cli.messages import Record, RunRecord

_BLOCK = 512
_REMADE = (
    *("trajectory.xyz", "properties.csv", "parity.json", "stdin.part"),
    *(".run.json.new", ".blocks.json.new", ".cost.json.new"),
)
"""Files in between, which every command makes again before it reads them."""
_TOOL_LOGS = ("nequip-compile.log", "create_lammps_model.log")
_OF_UNIT = re.compile(r"[0-9a-f]{16}(?=\.)")
_OWN = (
    *("journal.jsonl", "blocks.json", "cost.json", "cancel", "parsl", "logs", "work", "walkers", "init"),
    *("remote.json", "fetched"),
    *("train.xyz", "valid.xyz", "stdin.xyz", "output.xyz", "parity.png", ".journal.jsonl.new", *_REMADE),
)
"""What a run directory consists of, less run.json and the lock, which go last."""
_OWN_KINDS = ("made*", "hessians-*")


@dataclass
class Item:
    """Something that can be deleted."""

    what: str
    paths: list[Path] = field(default_factory=list)  # files and folders that go
    thinned: bool = False  # whether it is a part of the journal, which goes on without it
    whole: bool = False  # whether it is the run directory
    size: int = 0  # bytes on the disk
    files: int = 0

    def measure(self) -> None:
        """Find out how much it is; a file that has another name elsewhere frees nothing."""
        for path in self.paths:
            for facts in _facts(path):
                self.files += 1
                self.size += facts.st_blocks * _BLOCK if facts.st_nlink == 1 else 0


def _facts(path: Path) -> Iterator[os.stat_result]:
    """The facts of a file, or of every file in a folder; links are not followed."""
    if path.is_symlink() or not path.is_dir():
        yield path.lstat()
        return
    for folder, _, files in os.walk(path):
        for name in files:
            yield os.lstat(os.path.join(folder, name))


def find(folder: Path, run: RunRecord, state: RunState, others: bool) -> list[Item]:
    """What can be deleted of a run that has ended; with `others`, what was computed with other settings, too."""
    items = [_logs(folder, state), _in_between(folder, run)]
    if state in (RunState.DONE, RunState.PARTIAL):
        items.append(Item("Parsl's logs", _real([folder / "parsl"])))
    if state is RunState.DONE:
        keys = run["result"].get("keys", [])
        if run.get("command") == "train":
            items.append(
                Item("the trainer's copies of the data", _real(folder / f"{p}.xyz" for p in ("train", "valid")))
            )
        if keys:
            items.append(Item("older trainings", retention.older(folder / "work", keys)))
        if keys and others:
            items += _of_other_settings(folder, run, keys)
    for item in items:
        item.measure()
    return [item for item in items if item.files]


def _logs(folder: Path, state: RunState) -> Item:
    """Inputs and logs of the frames that did not fail."""
    units = FinishedUnits()
    units.read(folder / "journal.jsonl")
    good = units.succeeded
    finished = []
    for path in _real((folder / "logs").iterdir()) if _real([folder / "logs"]) else []:
        unit = _OF_UNIT.match(path.name)
        if (unit and unit[0] in good) or path.name == FINISHED or (state is RunState.DONE and path.name in _TOOL_LOGS):
            finished.append(path)
    return Item("logs of finished tasks", finished)


def _in_between(folder: Path, run: RunRecord) -> Item:
    """Files that a killed command left unfinished, in the run directory and beside its outputs."""
    outputs = run.get("outputs", []) if _is_in_place(folder, run) else []
    beside = [temporary(Path(output), run["run"]) for output in outputs]
    renamed = (folder / "work").glob(f"*{retention.GONE}") if _real([folder / "work"]) else []
    return Item(
        "intermediate files", _real([*(folder / name for name in _REMADE), *folder.glob("made*"), *beside, *renamed])
    )


def _of_other_settings(folder: Path, run: RunRecord, keys: list[str]) -> list[Item]:
    """What belongs to settings other than those of the last command."""
    trainings, walkers = (
        [path for path in _real((folder / name).iterdir()) if not belongs_to(path.name, keys)]
        if _real([folder / name])
        else []
        for name in ("work", "walkers")
    )
    older = retention.older(folder / "work", keys)
    units = Item("units of other settings, in the journal", thinned=True)
    is_other = of_others(run)
    for _, line in journal.lines(folder / "journal.jsonl"):
        if is_other(journal.head(line)):
            units.size += len(line) + 1
            units.files = 1
    return [
        Item("unfinished trainings with other settings", [path for path in trainings if path not in older]),
        Item("walkers of other settings", walkers),
        units,
    ]


def of_others(run: RunRecord) -> Callable[[Record], bool]:
    """Whether a record of the journal is a unit, or a plan for units, of other settings than the last command's."""
    keys = [*run["result"]["keys"], run["fingerprint"]]
    return lambda record: (record["kind"] == "unit" or record["kind"] == "plan") and not belongs_to(record["of"], keys)


def whole(folder: Path, run: RunRecord, state: RunState) -> Item | str:
    """The run directory of a finished run whose outputs stand elsewhere, or why it must stay."""
    if state is not RunState.DONE:
        return f"is {state}"
    outputs = run["result"].get("outputs", {})
    if not outputs:
        return "contains its result"
    if not _is_in_place(folder, run):
        return f"was moved or copied from {run['run']}"
    for path, digest in outputs.items():
        if not os.path.lexists(path):
            return f"has the results of {path}, which was deleted"
        if sha256(Path(path)) != digest:
            return f"has the results of {path}, which was changed"
    paths = _real([*own_paths(folder), folder / "lock", folder / "run.json"])
    item = Item("the run directory", whole=True, paths=paths)
    item.measure()
    return item


def _is_in_place(folder: Path, run: RunRecord) -> bool:
    """Whether the run directory is where its outputs were made from, and no copy of it."""
    try:
        return os.path.samefile(run["run"], folder)
    except (KeyError, OSError):
        return False


def own_paths(folder: Path) -> list[Path]:
    """What psiflow has put into a run directory, less run.json and the lock, which go last."""
    kinds = [path for kind in _OWN_KINDS for path in folder.glob(kind)]
    return _real([*(folder / name for name in _OWN), *kinds])


def _real(paths: Iterable[Path]) -> list[Path]:
    """Those that are there and are no links; each once, in order."""
    return [path for path in dict.fromkeys(paths) if path.exists() and not path.is_symlink()]
