"""psiflow status: the state of every run below here."""

from __future__ import annotations

import os
from typing import Any

import click

from psiflow_cli import options
from psiflow_cli.errors import NoInput

_COLOURS = {"running": "cyan", "done": "green", "partial": "yellow", "failed": "red", "dead": "red"}


@click.command("status", short_help="What every run below here does, and how far it is")
@click.argument("runs", nargs=-1, metavar="[RUN]...", type=click.Path())
@click.option("--state", type=click.Choice(list(_COLOURS)), help="Only runs in this state.")
@click.option("--failures", is_flag=True, help="List the failed frames by class, with their logs.")
@click.option("--watch", is_flag=True, help="Show it again every 2 s, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list on stdout.")
@options.talk
def command(runs: tuple[str, ...], state: str | None, failures: bool, watch: bool, as_json: bool) -> None:
    """Show the state of every run at or below RUN (or the working directory).

    An output may be named in place of its run directory. Only files are read, so it works anywhere the files are seen.
    """
    from pathlib import Path

    from psiflow_cli.stages import status

    places = [Path(_place(run)) for run in runs] or [Path()]
    while True:
        listed = [r for r in map(status.describe, status.find(places)) if state in (None, r["state"])]
        if watch and not as_json:
            click.clear()
        _show(listed, failures, as_json)
        if not watch:
            return
        import time

        time.sleep(2)


def _place(run: str) -> str:
    """The run directory of an output, or the folder itself."""
    beside = run.rstrip("/") + ".run"
    if os.path.isdir(beside):
        return beside
    if not os.path.isdir(run):
        raise NoInput(f"{run}: no such run", "psiflow status lists every run below the working directory")
    return run


def _show(listed: list[dict[str, Any]], with_failures: bool, as_json: bool) -> None:
    from pathlib import Path

    from psiflow_cli.stages import status

    if with_failures:
        listed = [{**run, "failures": status.failures(Path(run["run"]))} for run in listed]
    if as_json:
        import json

        click.echo(json.dumps(listed))
        return
    if not listed:
        click.echo("no runs here")
        return
    click.echo(f"{'STATE':8} {'COMMAND':9} {'DONE':>13} {'FAILED':>6} {'LEFT':>7} {'CORE-H':>7} {'AGE':>6}  RUN")
    for run in listed:
        click.echo(_row(run))
        for failed in run.get("failures", []):
            click.echo(f"  {failed['failure']}: {failed['id']}: {failed['message']}")
            if failed["log"]:
                click.echo(f"    log: {failed['log']}")


def _row(run: dict[str, Any]) -> str:
    from psiflow_cli.stages import status

    colour = click.style(f"{run['state']:8}", fg=_COLOURS[run["state"]])
    left = "-" if run["eta_s"] is None else _short(run["eta_s"])
    done = f"{run['done']}/{run['total']}"
    note = " ".join(f"{k}={v:.4g}" for k, v in list(run["info"].items())[:4] if isinstance(v, (int, float)))
    if run["lost"]:
        note = f"lost={run['lost']} {note}".rstrip()
    if run["waiting"]:
        waited = ", ".join(f"{job} ({_short(seconds)})" for job, seconds in run["waiting"].items())
        note = f"waits for the queue: {waited} {note}".rstrip()
    return (
        f"{colour} {run['command'] or '?':9} {done:>13} {run['failed']:>6} {left:>7} {run['core_hours']:>7.3g} "
        f"{status.age(run['updated']):>6}  {run['run']}" + (f"\n{'':8} {note}" if note else "")
    )


def _short(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
