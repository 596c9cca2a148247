"""remote.json: what a run directory here tells of a run on another machine."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

from psiflow_cli import duration
from psiflow_cli.runtime.jsonfile import read_json, write_json

if TYPE_CHECKING:
    from psiflow_cli.messages import RemoteRun, RunStatus

FILE = "remote.json"
_FRESH_S = 30.0


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


def with_local_paths(text: str, mirror: str) -> str:
    """What the other machine says, with the paths of the mirror as they are called here; in JSON as well."""
    for folder in dict.fromkeys((mirror, json.dumps(mirror)[1:-1])):
        text = text.replace(f"{folder}/", "/")
    return text


def status(folder: Path, record: RemoteRun) -> RunStatus:
    """The last that was heard of a run that is open, as `status` shows it."""
    last, where = record["status"], f"on {record['host']}"
    if (since := time.time() - record["as_of"]) > _FRESH_S:
        where += f", as of {duration.short(since)} ago"
    if last is None:
        state = "dead" if record.get("vanished") else "running"
        shown = _unknown(
            record, state, f"{where}: " + ("it never started" if record.get("vanished") else "has not started")
        )
    else:
        shown = cast("RunStatus", json.loads(with_local_paths(json.dumps(last), record["mirror"])))
    if last and last["state"] == "done":
        shown["state"], shown["message"] = "partial", f"{where}, done: run the same command again to fetch its outputs"
    elif last:
        shown["message"] = ": ".join(filter(None, (where, last["message"])))
    return {**shown, "run": str(folder)}


def _unknown(record: RemoteRun, state: str, message: str) -> RunStatus:
    return {
        "run": "", "command": record["command"], "state": state, "total": 0, "done": 0, "failed": 0, "lost": 0,
        "started": None, "updated": None, "rate_per_s": None, "eta_s": None, "core_hours": 0.0, "host": record["host"],
        "pid": None, "slurm_job_id": None, "blocks": [], "waiting": {}, "bad_nodes": [], "exit_code": None,
        "message": message, "argv": [], "cwd": None, "info": {}, "phase": "", "kernels": "",
    }  # fmt: skip
