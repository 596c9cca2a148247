"""psiflow status: the state of every run below here."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from psiflow_cli import options
from psiflow_cli.commands.shared.run_table import COLOURS
from psiflow_cli.console import columns, echo_json
from psiflow_cli.errors import NoInput

if TYPE_CHECKING:
    from pathlib import Path

    from psiflow_cli.messages import RunStatus
    from psiflow_cli.stages.core.finished_units import FinishedUnits


def _states(values: tuple[str, ...]) -> frozenset[str]:
    """`running,failed`, or the option more than once."""
    words = [word.strip().lower() for value in values for word in value.split(",")]
    for word in words:
        if word not in COLOURS:
            raise ValueError(f"{word!r} is not one of {', '.join(COLOURS)}")
    return frozenset(words)


@click.command("status", cls=options.Command)
@options.runs
@options.texts("--state states", "STATE,...", f"Show only runs in these states: {', '.join(COLOURS)}.", _states)
@options.flag("--failures", "List failed frames by class, with their logs.")
@options.flag("--watch", "Keep updating until nothing runs any more.")
@options.flag("--json as_json", "Print a JSON list; with --watch one object per change.")
@options.talk
def command(runs: tuple[str, ...], states: frozenset[str], failures: bool, watch: bool, as_json: bool) -> None:
    """Show the state of every run in or below RUN (default: the working directory), the latest last.

    RUN is a run directory or the output of a run. Only files are read, so this works wherever the files are visible. A
    run on the machine of a site with [remote] is looked up there if ssh connects without a question, and is otherwise
    shown as it was last known.

    \b
    running  its command is running; LEFT is the estimated time to its end
    done     ended with exit code 0
    partial  stopped before the end (run it again), or with failures (--failures)
    failed   ended with an error, which is shown
    dead     the process of its command has died: run the same command again

    A training shows its phase (starting, preparing, training, delivering) and the numbers of its last epoch.

    CORE-H is the cost of its jobs: all their cores from start to end, or on this host the time of its finished units.
    LEFT follows from the pace since the first result; while every job waits in the queue it says so, and the queue's
    reasons are listed below. AGE is the time since the last progress. -v adds where each run is and its command line.

    \b
    Examples:
      psiflow status
      psiflow status --watch --state running,failed
      psiflow status labelled.xyz --failures
      psiflow status --json | jq '.[] | select(.state == "dead").run'
    """  # fmt: skip
    look = _Look([place(run) for run in runs] or ["."], states, failures)
    if not watch:
        _show([run for run in look() if run["shown"]], as_json)
        return
    from psiflow_cli.commands.shared.watch import as_lines, on_terminal

    if sys.stdout.isatty() and not as_json:
        on_terminal(look)
    else:
        as_lines(look, as_json)


class _Look:
    """Looks at every run, and remembers what it has read of the journals."""

    def __init__(self, places: list[str], states: frozenset[str], failures: bool) -> None:
        self._places, self._states, self._failures = places, states, failures
        self._units: dict[tuple[str, int], FinishedUnits] = {}

    def __call__(self) -> list[RunStatus]:
        from psiflow_cli.stages.runs import run_folders

        listed: list[RunStatus] = []
        folders = list(run_folders.find(self._places))
        if not folders:
            return listed
        from psiflow_cli.remote import record
        from psiflow_cli.stages.core.finished_units import FinishedUnits
        from psiflow_cli.stages.runs import status

        if remote := [folder for folder in folders if record.is_open(folder)]:
            from psiflow_cli.remote import asking

            asking.refresh(remote)
        for folder in folders:
            try:
                inode = (folder / "journal.jsonl").stat().st_ino
            except FileNotFoundError:
                inode = 0
            run = status.describe(folder, self._units.setdefault((str(folder), inode), FinishedUnits()))
            run["shown"] = not self._states or run["state"] in self._states
            if run["command"] == "check" and self._is_hidden(folder) and run["state"] != "running":
                continue  # its result was on the screen: nobody looks for it here
            if self._failures and run["shown"]:
                run["failures"] = status.failures(folder)
            listed.append(run)
        return sorted(listed, key=lambda run: run["started"] or "~")  # what has not begun yet comes last

    def _is_hidden(self, folder: Path) -> bool:
        """Is it in `.psiflow`, and was that not asked for?"""
        return folder.parent.name == ".psiflow" and not any(".psiflow" in place.split(os.sep) for place in self._places)


def place(run: str) -> str:
    """The run directory of an output, or the folder itself."""
    beside = run.rstrip("/") + ".run"
    if os.path.isdir(beside):
        return beside
    if not os.path.isdir(run):
        raise NoInput(f"{run}: no such run", "list every run below the working directory with psiflow status")
    return run


def _show(listed: list[RunStatus], as_json: bool) -> None:
    from psiflow_cli.commands.shared.run_table import table

    if as_json:
        echo_json([{k: v for k, v in run.items() if k != "shown"} for run in listed])
        return
    if not listed:
        click.echo("no runs here")
        return
    for line in table(listed, columns(sys.stdout)):
        click.echo(line)
