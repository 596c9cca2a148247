"""remote.json: what a run directory here tells of a run on another machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from psiflow_cli.runtime.jsonfile import read_json, write_json

if TYPE_CHECKING:
    from psiflow_cli.messages import RemoteRun

FILE = "remote.json"


def read(folder: Path) -> RemoteRun | None:
    """The record of a run directory; None if its run is (or was) one of this machine."""
    record = read_json(folder / FILE)
    return cast("RemoteRun", record) if record.get("host") else None


def write(folder: Path, record: RemoteRun) -> None:
    write_json(folder / FILE, record)


def is_open(folder: Path) -> bool:
    """Whether the run may still be at work on another machine, or has something there that was not fetched."""
    record = read(folder)
    return record is not None and not record["ended"]
