"""Runs as a table for a person: a row for each, and below it what waits, where it is and why it ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, TypedDict

from psiflow_cli.console import Verbosity, paint
from psiflow_cli.duration import short
from psiflow_cli.errors import counted
from psiflow_cli.stages.train import epoch_text

if TYPE_CHECKING:
    from psiflow_cli.messages import BlockStatus, NodeStatus, RunStatus


class Style(TypedDict, total=False):
    """Of a line: arguments of `console.paint`."""

    dim: bool
    fg: str


COLOURS = {"running": "cyan", "done": "green", "partial": "yellow", "failed": "red", "dead": "red"}
_HEADS = ("STATE", "COMMAND", "DONE", "FAILED", "LEFT", "CORE-H", "AGE", "RUN")
_TO_THE_LEFT = ("STATE", "COMMAND", "RUN")
_FIRST_TO_GO = ("AGE", "CORE-H", "COMMAND", "LEFT", "FAILED")
_LEAST_NAME = 16
_JOBS = 8
"""So many of an executor's jobs are named."""


def table(listed: list[RunStatus], width: int | None) -> Iterator[str]:
    """Lines for a terminal of `width` columns; None: nothing is shortened and nothing is broken."""
    rows = [dict(zip(_HEADS, cells, strict=True)) for cells in (_HEADS, *map(_cells, listed))]
    widths = {head: max(len(row[head]) for row in rows) for head in _HEADS[:-1]}
    room = None if width is None else _room(widths, width)
    for row, run in zip(rows, [None, *listed], strict=True):
        cells = {
            head: row[head].ljust(size) if head in _TO_THE_LEFT else row[head].rjust(size)
            for head, size in widths.items()
        }
        if run is None:
            yield paint(" ".join([*cells.values(), _HEADS[-1]]), bold=True)
            continue
        cells["STATE"] = paint(cells["STATE"], fg=COLOURS[run["state"]])
        if run["failed"]:
            cells["FAILED"] = paint(cells["FAILED"], fg="red")
        yield " ".join([*cells.values(), _shortened(row["RUN"], room)])
        for note, style in _notes(run):
            yield from (paint(line, **style) for line in _broken(note, width))
    if len(listed) > 1:
        yield paint(_sum(listed), bold=True)


def _room(widths: dict[str, int], width: int) -> int:
    """The columns that are left for the names; where they are too few, less is shown."""
    for head in ("", *_FIRST_TO_GO):
        widths.pop(head, None)
        room = width - sum(widths.values()) - len(widths)
        if room >= _LEAST_NAME:
            break
    return max(room, 1)


def _cells(run: RunStatus) -> tuple[str, ...]:
    remaining = ("queued" if _is_queued(run) else "-") if run["eta_s"] is None else short(run["eta_s"])
    done, failed = f"{run['done']}/{run['total']}", str(run["failed"])
    return run["state"], run["command"] or "?", done, failed, remaining, hours(run["core_hours"]), _age(run), run["run"]


def _is_queued(run: RunStatus) -> bool:
    return bool(run["blocks"]) and all(block["state"] == "PENDING" for block in run["blocks"])


def _notes(run: RunStatus) -> Iterator[tuple[str, Style]]:
    """The lines below a run's row, each with its style."""
    dim: Style = {"dim": True}
    if run["message"]:
        yield run["message"], {"fg": COLOURS[run["state"]]}
    if about := [*filter(None, [run["phase"]]), *epoch_text.parts(run["info"])]:
        yield ", ".join(about), dim
    if run["lost"]:
        yield f"tasks lost with their worker and started again: {run['lost']}", {"fg": "yellow"}
    for executor in dict.fromkeys(block["executor"] for block in run["blocks"]):
        yield _queue(executor, [block for block in run["blocks"] if block["executor"] == executor]), dim
    for bad in run["bad_nodes"]:
        yield _bad_node(bad), {"fg": "yellow"}
    if Verbosity.verbose:
        if run.get("kernels"):
            yield f"the model is computed by {run['kernels']}", dim
        job = f", SLURM job {run['slurm_job_id']}" if run["slurm_job_id"] else ""
        yield f"pid {run['pid']} on {run['host']}{job}, begun {run['started']} in {run['cwd']}", dim
        import shlex

        yield shlex.join(["psiflow", *run["argv"][1:]]), dim
    for failed in run.get("failures", []):
        yield f"{failed['failure']}: {failed['id']}: {failed['message']}", {}
        if failed["log"]:
            yield f"  log: {failed['log']}", dim


def _queue(executor: str, blocks: list[BlockStatus]) -> str:
    """An executor's blocks: those that run, with the time they were queued, and those that are queued."""
    running = [block for block in blocks if block["state"] == "RUNNING"]
    waiting = [block for block in blocks if block["state"] != "RUNNING"]
    parts = []
    if running:
        queued = [f"{b['job']} (queued for {short(b['queued_s'] or 0)})" for b in running]
        parts.append(f"{len(running)} running: {_some(queued)}")
    if waiting:
        parts.append("in the queue: " + _some([f"{b['job']} ({_wait(b)})" for b in waiting]))
    return f"{executor} on {blocks[0]['provider']}: " + "; ".join(parts)


def _bad_node(bad: NodeStatus) -> str:
    count = bad["failed_blocks"]
    failed = f"has failed {counted(count, 'block')}" if count else ""
    left_out = "is excluded" if bad["excluded"] else ""
    words = f": {bad['last_words']}" if bad["last_words"] else ""
    return f"node {bad['node']} {', and '.join(filter(None, (failed, left_out)))}{words}"


def _wait(block: BlockStatus) -> str:
    return ": ".join(filter(None, (short(block["for_s"]), block["reason"])))


def _some(texts: list[str]) -> str:
    more = f", and {len(texts) - _JOBS} more" if len(texts) > _JOBS else ""
    return ", ".join(texts[:_JOBS]) + more


def _sum(listed: list[RunStatus]) -> str:
    states = [run["state"] for run in listed]
    counts = ", ".join(f"{states.count(state)} {state}" for state in COLOURS if state in states)
    return f"{counted(len(listed), 'run')}: {counts}; {hours(sum(run['core_hours'] for run in listed))} core-hours"


def _shortened(name: str, room: int | None) -> str:
    """A path without its beginning, where it does not fit: its end is what tells it from others."""
    return name if room is None or len(name) <= room else "…" + name[len(name) - room + 1 :]


def _broken(note: str, width: int | None) -> list[str]:
    indent = " " * 8
    if width is None:
        return [indent + note]
    import textwrap

    return textwrap.wrap(note, max(width, 40), initial_indent=indent, subsequent_indent=indent + "  ")


def hours(number: float) -> str:
    """Core-hours with about three digits."""
    return f"{number:.{2 if number < 10 else 1 if number < 100 else 0}f}"


def _age(run: RunStatus) -> str:
    """How long ago something was finished, in one unit."""
    if run["updated"] is None:
        return "-"

    return short(max(0.0, time.time() - datetime.fromisoformat(run["updated"]).timestamp()))
