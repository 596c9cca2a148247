"""Folders of trainings in a run: a delivered one is kept until the next is, so that a nightly retrain does not fill the
disk; one that was stopped stays, since it may go on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from pathlib import Path

_MARK = "delivered"
GONE = ".gone"  # ending of a folder that is being removed: nothing goes on from a part of one


def unmark(folder: Path) -> None:
    """This one is in training (again, with more members): until it is done, nothing may remove it."""
    (folder / _MARK).unlink(missing_ok=True)


def keep_only(folder: Path) -> None:
    """This one is delivered: remove those beside it that were delivered before it."""
    (folder / _MARK).touch()
    for other in folder.parent.iterdir():
        if other.name.endswith(GONE):  # a command that was killed had begun
            shutil.rmtree(other, ignore_errors=True)
        elif other != folder and (other / _MARK).exists():
            renamed = other.with_name(other.name + GONE)
            os.replace(other, renamed)
            shutil.rmtree(renamed, ignore_errors=True)


def older(place: Path, keys: Collection[str]) -> list[Path]:
    """The delivered trainings in `place` that are none of these."""
    folders = [path for path in place.iterdir() if not path.is_symlink()] if place.is_dir() else []
    return [path for path in folders if path.name not in keys and (path / _MARK).exists()]
