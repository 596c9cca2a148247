"""A folder of a task's own in the scratch space of its node."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli.errors import BAD_CONFIG, NO_RESOURCES
from psiflow_cli.worker.failures import AGAIN, Fatal
from psiflow_cli.worker.pool import temporary_folders

if TYPE_CHECKING:
    from psiflow_cli.messages import Context

_NO_ROOM = 1 << 16  # bytes


@contextlib.contextmanager
def folder(context: Context, prefix: str) -> Iterator[Path]:
    """A new, empty folder, removed at the end unless the site keeps scratch. Raises Fatal without room for one.

    If this process is killed, its supervisor removes the folder, or else the next process that makes one there.

    A full disk also shows at the end: programs fail there in words of their own, or end well with half their output.
    """
    place, keep = str(base(context)), bool(context.get("keep_scratch"))
    try:
        path = tempfile.mkdtemp(prefix=f"{prefix}-", dir=place) if keep else temporary_folders.make(prefix, place)
    except OSError as error:
        raise _unusable(Path(context["scratch"]), error) from None
    scratch_folder = Path(path)
    try:
        try:
            yield scratch_folder
        finally:
            _check_room(scratch_folder)
    finally:
        if not keep:
            shutil.rmtree(scratch_folder, ignore_errors=True)


def base(context: Context) -> Path:
    """The scratch space of the node, made if need be. Raises Fatal where it cannot be."""
    place = Path(context["scratch"])
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(place, error) from None
    return place


def _check_room(folder: Path) -> None:
    """Raise Fatal where the disk is full."""
    disk = os.statvfs(folder)
    if disk.f_bavail * disk.f_frsize < _NO_ROOM:
        raise _unusable(folder.parent, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))


def _unusable(place: Path, error: OSError) -> Fatal:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    hint = (
        "free some disk space"
        if full
        else "set [resources] scratch in the site file to a folder that every worker can write to"
    )
    problem = f"the scratch folder {place} on host {os.uname().nodename} cannot be written: {error.strerror or error}"
    return Fatal(problem, f"{hint}; {AGAIN}", NO_RESOURCES if full else BAD_CONFIG)
