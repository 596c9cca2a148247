"""What the run directories say: run.json, the journal, the blocks and the lock, and nothing else."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from psiflow_cli.errors import BAD_DATA
from psiflow_cli.runtime import blocks, journal, lock, stoprequest
from psiflow_cli.runtime.jsonfile import read_json
from psiflow_cli.stages.core.units import Units

STATES = ("running", "done", "partial", "failed", "dead")
_SKIPPED = {".git", "node_modules", "__pycache__"}


def find(places: list[Path]) -> Iterator[Path]:
    """Every run directory at or below these places; nothing inside one is looked at."""
    for place in places:
        for folder, below, files in os.walk(place):
            if ("run.json" in files and "journal.jsonl" in files) or _prepares(folder, files):
                below.clear()
                yield Path(folder)
            else:
                below[:] = sorted(b for b in below if b not in _SKIPPED and not b.startswith(".venv"))


def _prepares(folder: str, files: list[str]) -> bool:
    """Whether a first command is at work there that has not begun yet: it reads its inputs."""
    return "lock" in files and stoprequest.FILE in files and lock.is_held(Path(folder, "lock"))


def describe(folder: Path, units: Units | None = None) -> dict[str, Any]:
    """The state of one run, as `psiflow status --json` prints it; `units` from an earlier look make it cheap."""
    run = read_json(folder / "run.json")
    result = run.get("result")
    units = units or Units()
    units.read(folder / "journal.jsonl")
    if result:
        units.settle(result.get("keys", []))
    state = state_of(folder, run)
    rate = units.rate()
    finished = bool(result and result["finished"])
    done = run["total"] if finished and not units.counted else units.done  # a stage without units is done at once
    left = max(0, run.get("total", 0) - done)
    ended = result["ended"] if result else None
    queue = _blocks(folder) if state == "running" else []
    return {
        "run": str(folder),
        "command": run.get("command"),
        "state": state,
        "total": run.get("total", 0),
        "done": done,
        "failed": units.failed,
        "lost": units.lost,
        "started": _iso(run.get("started")),
        "updated": _iso(max(filter(None, [units.updated, ended, run.get("started")]), default=None)),
        "rate_per_s": rate,
        "eta_s": left / rate if state == "running" and rate else None,
        "core_hours": round(units.core_seconds / 3600, 6),
        "host": run.get("host"),
        "pid": run.get("pid"),
        "slurm_job_id": run.get("slurm_job_id"),
        "blocks": queue,
        "waiting": {block["job"]: block["for_s"] for block in queue if block["state"] == "PENDING"},
        "exit_code": result["exit_code"] if result else None,
        "message": _message(folder, run, state),
        "argv": run.get("argv", []),
        "cwd": run.get("cwd"),
        "info": units.info,
    }


def state_of(folder: Path, run: dict[str, Any]) -> str:
    """done: nothing is missing; partial: ended in order with something missing; failed: by an error; dead: vanished."""
    if (result := run.get("result")) is None:
        return "running" if lock.is_held(folder / "lock") else "dead"
    code = result["exit_code"]
    if code == 0 or (code == BAD_DATA and result["finished"]):  # a check that has found something is done
        return "done"
    return "partial" if code in (1, 75, 130) else "failed"


def _message(folder: Path, run: dict[str, Any], state: str) -> str:
    """Why a run is not done, in a line."""
    if state == "running":
        return "" if run else "reads its inputs"
    if state == "dead":
        left = blocks.left(folder)
        jobs = f"; it may have left jobs: {', '.join(left)}" if left else ""
        return f"its process is gone (pid {run.get('pid', '?')} on {run.get('host', '?')}){jobs}"
    summary = (run.get("result") or {}).get("summary", {})
    failures = ", ".join(f"{count} {kind}" for kind, count in sorted(summary.get("failures", {}).items()))
    return " ".join(str(summary.get("error") or (f"failed: {failures}" if failures else "")).split())


def _blocks(folder: Path) -> list[dict[str, Any]]:
    """The blocks in a batch system, of the executor at work: `for_s` in their state, `queued_s` before they ran."""
    facts = read_json(folder / blocks.FILE)
    if facts.get("type") == "local":
        return []  # a process of this host is in no queue
    where = {"executor": facts.get("executor", ""), "provider": facts.get("type", "")}
    return [
        {
            **where,
            "job": job,
            "state": each["state"],
            "for_s": round(time.time() - each["since"], 1),
            "queued_s": each.get("queued"),
        }
        for job, each in facts.get("jobs", {}).items()
        if each["state"] in blocks.LIVE
    ]


def failures(folder: Path) -> list[dict[str, Any]]:
    """The failed units of a run: id, class, message and log, by class."""
    latest: dict[str, dict[str, Any]] = {}
    for _, line in journal.lines(folder / "journal.jsonl"):
        record = journal.head(line)
        if record.get("kind") == "unit":
            latest[record["id"]] = record if record["ok"] else journal.whole(line)
    listed = []
    for record in latest.values():
        if not record["ok"]:
            value = record.get("value") or {}
            said = value.get("message") or (record.get("stopped") or {}).get("reason", "")
            listed.append(
                {"id": record["id"], "failure": record["failure"], "message": said, "log": value.get("log", "")}
            )
    return sorted(listed, key=lambda f: (f["failure"], f["id"]))


def _iso(stamp: float | None) -> str | None:
    return None if stamp is None else datetime.fromtimestamp(stamp, timezone.utc).isoformat(timespec="seconds")
