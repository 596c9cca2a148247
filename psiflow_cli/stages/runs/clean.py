"""Frees the space of runs that have ended: first what could go, with what is lost; then, if that is wanted, it goes."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from psiflow_cli.errors import Stopped
from psiflow_cli.remote import record
from psiflow_cli.runtime import journal
from psiflow_cli.runtime.jsonfile import read_run
from psiflow_cli.runtime.lock import Lock
from psiflow_cli.stages.runs import leftovers, status
from psiflow_cli.stages.runs.leftovers import Item
from psiflow_cli.stages.runs.status import RunState

if TYPE_CHECKING:
    from psiflow_cli.messages import CleanedItem, CleanedRun, RunRecord


@dataclass
class Cleaning:
    """What can go of one run."""

    folder: Path
    run: RunRecord
    state: RunState
    items: list[Item] = field(default_factory=list)
    why_kept: str = ""  # why it is left alone
    host: str = ""  # where it is, if it is on another machine

    @property
    def size(self) -> int:
        return sum(item.size for item in self.items)

    @property
    def place(self) -> str:
        return f"{self.host}:{self.folder}" if self.host else str(self.folder)

    def described(self) -> CleanedRun:
        items: list[CleanedItem] = [{"what": item.what, "bytes": item.size, "files": item.files} for item in self.items]
        return {"run": self.place, "state": self.state, "bytes": self.size, "items": items, "kept": self.why_kept}


def plan(folder: Path, others: bool, runs: bool) -> Cleaning:
    """What can go of a run: with `others` also what was computed with other settings, with `runs` the whole of it."""
    run = read_run(folder)
    state = status.state_of(folder, run)
    cleaning = Cleaning(folder, run, state)
    if folder.is_symlink():
        cleaning.why_kept = "is a link"
    elif record.is_open(folder):
        cleaning.why_kept = "is on another machine, and its results were not fetched"
    elif state is RunState.RUNNING:
        cleaning.why_kept = "is running"
    elif not runs:
        cleaning.items = leftovers.find(folder, run, state, others)
    elif isinstance(item := leftovers.whole(folder, run, state), str):
        cleaning.why_kept = item
        cleaning.items = leftovers.find(folder, run, state, others)
    else:
        cleaning.items = [item]
    return cleaning


def from_other_machine(host: str, row: CleanedRun) -> Cleaning:
    """What can go of a run on another machine, as it has said."""
    items = [Item(each["what"], size=each["bytes"], files=each["files"]) for each in row["items"]]
    return Cleaning(Path(row["run"]), cast("RunRecord", {}), RunState(row["state"]), items, row["kept"], host)


def delete(planned: Cleaning) -> bool:
    """Delete what was planned; False, and nothing is deleted, where a command has begun since."""
    try:
        lock = Lock(planned.folder / "lock")
    except Stopped:
        return False
    try:
        if read_run(planned.folder) != planned.run:
            return False
        for item in planned.items:
            if item.thinned:
                journal.thin(planned.folder / "journal.jsonl", leftovers.of_others(planned.run))
            elif item.whole:
                _remove(leftovers.own_paths(planned.folder))
                _remove([planned.folder / "run.json", planned.folder / "lock"])
            else:
                _remove(item.paths)
    finally:
        lock.release()
    with contextlib.suppress(OSError):  # what psiflow did not write is in it, and stays
        if not (planned.folder / "run.json").exists():
            planned.folder.rmdir()
    return True


def _remove(paths: Iterable[Path]) -> None:
    """Files, and folders with all that is in them; of a link in them the link only."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
