"""What the run directories say: run.json, the journal, the blocks and the lock, and nothing else."""

from __future__ import annotations

import contextlib
import time
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli.errors import BAD_DATA, FAILED_FRAMES, INTERRUPTED, STOPPED
from psiflow_cli.remote import record
from psiflow_cli.runtime import block_record, journal, lock
from psiflow_cli.runtime.batch_queue import cost
from psiflow_cli.runtime.block_record import BlockState
from psiflow_cli.runtime.jsonfile import read_run
from psiflow_cli.stages.core.finished_units import FinishedUnits
from psiflow_cli.worker.training import phase

if TYPE_CHECKING:
    from psiflow_cli.messages import BlockStatus, FailedUnit, NodeStatus, RunRecord, RunStatus, Unit


class RunState(str, Enum):
    """What a run is at, as run.json, the journal and the lock tell together."""

    RUNNING = "running"  # its command is at work
    DONE = "done"  # it has ended, and nothing is missing
    PARTIAL = "partial"  # it has ended in order, with something missing
    FAILED = "failed"  # it was ended by an error
    DEAD = "dead"  # its command has vanished

    __str__ = str.__str__


def describe(folder: Path, units: FinishedUnits | None = None) -> RunStatus:
    """The state of one run, as `psiflow status --json` prints it; `units` from an earlier look make it cheap."""
    elsewhere = record.read(folder)
    if elsewhere and not elsewhere["ended"]:
        return record.status(folder, elsewhere)
    run = read_run(folder)
    result = run.get("result")
    units = units or FinishedUnits()
    units.read(folder / "journal.jsonl")
    if result:
        units.settle(result.get("keys", []))
    state = state_of(folder, run)
    rate = units.rate()
    finished = bool(result and result["finished"])
    done = run["total"] if finished and not units.counted else units.done  # a stage without units is done at once
    remaining = max(0, run.get("total", 0) - done)
    ended = result["ended"] if result else None
    queue = _blocks(folder) if state is RunState.RUNNING else []
    is_queued = bool(queue) and all(block["state"] == BlockState.PENDING for block in queue)
    return {
        "run": str(folder), "command": run.get("command"), "state": state, "total": run.get("total", 0),
        "done": done, "failed": units.failed, "lost": units.lost, "started": _iso(run.get("started")),
        "updated": _iso(max(filter(None, [units.updated, ended, run.get("started")]), default=None)),
        "rate_per_s": rate, "eta_s": remaining / rate if state is RunState.RUNNING and rate and not is_queued else None,
        "core_hours": round(_core_seconds(folder, units, state) / 3600, 6), "host": run.get("host"),
        "pid": run.get("pid"), "slurm_job_id": run.get("slurm_job_id"), "blocks": queue,
        "waiting": {block["job"]: block["for_s"] for block in queue if block["state"] == BlockState.PENDING},
        "bad_nodes": _bad_nodes(folder), "exit_code": result["exit_code"] if result else None,
        "message": _message(folder, run, state), "argv": run.get("argv", []), "cwd": run.get("cwd"), "info": units.info,
        "phase": _phase(folder) if state is RunState.RUNNING and run.get("command") == "train" else "",
        "kernels": units.kernels,
    }  # fmt: skip


def _core_seconds(folder: Path, units: FinishedUnits, state: RunState) -> float:
    """What jobs cost from start to end, and what units took that ran on the command's own host."""
    jobs = cost.core_seconds(folder, time.time() if state is RunState.RUNNING else None)
    return max(jobs, units.core_seconds_in_jobs) + units.core_seconds - units.core_seconds_in_jobs


def state_of(folder: Path, run: RunRecord) -> RunState:
    if (result := run.get("result")) is None:
        return RunState.RUNNING if lock.is_held(folder / "lock") else RunState.DEAD
    code = result["exit_code"]
    if code == 0 or (code == BAD_DATA and result["finished"]):  # a check that has found something is done
        return RunState.DONE
    return RunState.PARTIAL if code in (FAILED_FRAMES, STOPPED, INTERRUPTED) else RunState.FAILED


def _phase(folder: Path) -> str:
    """What a training is doing now; of a committee, the member whose phase changed last."""
    changed: list[tuple[float, Path]] = []
    for path in folder.glob(f"work/*/member-*/{phase.FILE}"):
        with contextlib.suppress(FileNotFoundError):  # a run that begins removes those of the one before
            changed.append((path.stat().st_mtime, path.parent))
    return (phase.read(max(changed)[1]) if changed else "") or "starting"


def _message(folder: Path, run: RunRecord, state: RunState) -> str:
    """Why a run is not done, in a line."""
    if state is RunState.RUNNING:
        refused = block_record.read(folder).get("refused")
        return (f"a job was refused: {refused}" if refused else "") if run else "reading its inputs"
    left = block_record.queued_jobs(folder)
    jobs = f"; it may have left jobs: {', '.join(left)}" if left else ""
    if state is RunState.DEAD:
        return f"its process has died (pid {run.get('pid', '?')} on {run.get('host', '?')}){jobs}"
    result = run.get("result")
    summary = result.get("summary", {}) if result else {}
    failures = ", ".join(f"{count} {kind}" for kind, count in sorted(summary.get("failures", {}).items()))
    ended = " ".join(str(summary.get("error") or (f"failed: {failures}" if failures else "")).split())
    return (ended + jobs).removeprefix("; ")


def _blocks(folder: Path) -> list[BlockStatus]:
    """The blocks in a batch system, of the executor at work."""
    record, now = block_record.read(folder), time.time()
    if record.get("type") == "local":
        return []  # a process of this host is in no queue
    return [
        {
            "executor": record.get("executor", ""), "provider": record.get("type", ""), "job": job,
            "state": block["state"], "for_s": round(now - block["since"], 1), "queued_s": block.get("queued"),
            "reason": block.get("reason", ""),
        }
        for job, block in record.get("jobs", {}).items()
        if block["state"] in block_record.LIVE
    ]  # fmt: skip


def _bad_nodes(folder: Path) -> list[NodeStatus]:
    nodes = block_record.read(folder).get("nodes", {})
    return [{"node": name, **record} for name, record in sorted(nodes.items())]


def failures(folder: Path) -> list[FailedUnit]:
    """The failed units of a run, by class."""
    latest: dict[str, tuple[Unit, bytes]] = {}
    for _, line in journal.lines(folder / "journal.jsonl"):
        unit = journal.head(line)
        if unit["kind"] == "unit":
            latest[unit["id"]] = unit, b"" if unit["ok"] else line
    listed = [_failed(journal.whole_unit(line)) for unit, line in latest.values() if not unit["ok"]]
    if elsewhere := record.read(folder):
        listed = [{**each, "log": f"{elsewhere['host']}:{each['log']}" if each["log"] else ""} for each in listed]
    return sorted(listed, key=lambda failed: (failed["failure"], failed["id"]))


def _failed(unit: Unit) -> FailedUnit:
    value = unit.get("value") or {}
    message = value.get("message") or (unit["stopped"]["reason"] if unit.get("stopped") else "")
    return {"id": unit["id"], "failure": unit["failure"], "message": message, "log": value.get("log", "")}


def _iso(stamp: float | None) -> str | None:
    return None if stamp is None else datetime.fromtimestamp(stamp, timezone.utc).isoformat(timespec="milliseconds")
