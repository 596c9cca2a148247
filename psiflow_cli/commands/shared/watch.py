"""Runs as they go on: redrawn in place on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from psiflow_cli.commands.shared.run_table import table
from psiflow_cli.console import echo_json

if TYPE_CHECKING:
    from psiflow_cli.messages import RunStatus

EVERY_S = 2.0
QUIET_LOOKS = 3
"""So often in a row nothing runs before the watch is over: between two commands of a script, nothing does."""
PROGRESS_S = 30.0
"""How often mere progress is said where there is no terminal."""

Look = Callable[[], "list[RunStatus]"]
"""Every run there is, each with `shown`: whether it was asked for."""


def looks(look: Look) -> Iterator[list[RunStatus]]:
    """The runs asked for, every few seconds, until nothing runs any more."""
    quiet = 0
    while True:
        every = look()
        yield [run for run in every if run["shown"]]
        quiet = 0 if any(run["state"] == "running" for run in every) else quiet + 1
        if quiet == QUIET_LOOKS:
            return
        time.sleep(EVERY_S)


def on_terminal(look: Look) -> None:
    """Redraw the table in place; what does not fit on the screen is left out, and said to be."""
    drawn, size = 0, _size()
    for listed in looks(look):
        size, before = _size(), size
        lines = list(table(listed, size.columns)) if listed else ["no runs here"]
        if len(lines) >= size.lines:
            left_out = len(lines) - size.lines + 2
            lines = [*lines[: size.lines - 2], f"… {left_out} more lines"]
        if size != before:
            click.clear()  # what was drawn is broken in other places now
        elif drawn:
            click.echo(f"\x1b[{drawn}F\x1b[J", nl=False)
        click.echo("\n".join(lines))
        drawn = len(lines)


def _size() -> os.terminal_size:
    """What the terminal itself says: LINES and COLUMNS may be another's, and redrawing needs the true height."""
    size = os.get_terminal_size()
    return size if size.lines and size.columns else os.terminal_size((80, 24))


def as_lines(look: Look, as_json: bool) -> None:
    """A line, or a JSON object, for a run whose state or failures have changed, and at times for one that got on."""
    marks: dict[str, tuple[str, int, int, list[str], int]] = {}
    """State, failures, losses, waiting jobs with the queue's reasons, and progress as they were said last."""
    when: dict[str, float] = {}
    for listed in looks(look):
        for run in listed:
            name, now = run["run"], time.monotonic()
            before = marks.get(name)
            mark = (run["state"], run["failed"], run["lost"], _waits(run), run["done"])
            if before == mark or (before and before[:-1] == mark[:-1] and now - when[name] < PROGRESS_S):
                continue
            marks[name], when[name] = mark, now
            if as_json:
                echo_json({k: v for k, v in run.items() if k != "shown"})
            else:
                click.echo(_line(run))


def _waits(run: RunStatus) -> list[str]:
    """The jobs that are queued, each with the queue's reason."""
    waiting = [block for block in run["blocks"] if block["job"] in run["waiting"]]
    return [f"{block['job']} ({block['reason']})" if block["reason"] else block["job"] for block in waiting]


def _line(run: RunStatus) -> str:
    failed = f", {run['failed']} failed" if run["failed"] else ""
    waits = f", in the queue: {', '.join(_waits(run))}" if run["waiting"] else ""
    why = f": {run['message']}" if run["message"] else ""
    clock = time.strftime("%H:%M:%S")
    return f"{clock} {run['run']}: {run['state']}, {run['done']}/{run['total']} done{failed}{waits}{why}"
