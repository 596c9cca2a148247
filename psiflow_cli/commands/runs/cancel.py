"""psiflow cancel: end runs in order."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, cast

import click

from psiflow_cli import options
from psiflow_cli.commands.runs.status import place
from psiflow_cli.console import echo_json, note, problem
from psiflow_cli.errors import CANNOT_CREATE, STOPPED, NoInput, PsiflowError, UsageError, counted

if TYPE_CHECKING:
    from pathlib import Path

    from psiflow_cli.messages import CancelledRun
    from psiflow_cli.stages.runs.cancel import Ending

_POLL_S = 0.2


def _seconds(value: str) -> float:
    if value.strip() == "0":
        return 0.0
    from psiflow_cli import duration

    return float(duration.parse(value))


@click.command("cancel", cls=options.Command)
@options.runs
@options.flag("--all everything", "All runs in or below RUN (default: the working directory).")
@options.text(
    "--wait patience", "2 min", "DURATION", "How long to wait until the runs have ended; 0: do not wait.", _seconds
)
@options.flag("--dry-run", "Show which runs would be stopped without stopping them.")
@options.flag("--json as_json", "Print a JSON list of what happened.")
@options.talk
def command(runs: tuple[str, ...], everything: bool, patience: float, dry_run: bool, as_json: bool) -> None:
    """Stop each RUN cleanly and wait until it has ended: its jobs are cancelled, and finished work is kept.

    RUN is a run directory or the output of a run. The stopped command exits with 75, and the same command continues the
    run later. A run on this host gets SIGTERM; one on another host finds a request in its run directory within about 10
    s; one on the machine of a site with [remote] is stopped through the local command that follows it or, if that has
    vanished, over ssh. If the command of a run has vanished, the jobs that it left in a queue are cancelled. Runs that
    have already ended are left alone, so the command can be repeated.

    A script or SLURM job in which the command runs is not stopped: it sees exit code 75.

    The exit code is 75 if something has not ended in time, or its jobs could not be cancelled.

    \b
    Examples:
      psiflow cancel labelled.xyz
      psiflow cancel --all
      psiflow cancel --all rounds/ --wait 10min
    """  # fmt: skip
    from psiflow_cli.remote import asking
    from psiflow_cli.stages.runs.cancel import Ending

    folders = _folders(runs, everything)
    remote = [folder for folder in folders if asking.is_left(folder)]
    endings = [Ending(folder) for folder in folders if folder not in remote]
    if everything:
        endings = [ending for ending in endings if ending.holder or ending.queued_jobs]
        remote = asking.unfinished(remote)
    if dry_run:
        plans = [{"run": str(each.folder), "was": each.was, "would_end": bool(each.holder)} for each in endings]
        _, rows = _end_there(remote, ["--dry-run"])
        if as_json:
            echo_json([*plans, *rows])
            return
        for row in rows:
            click.echo(f"{row['run']}: {row['was']}" + ", would be ended" * bool(row["would_end"]))
        for each in endings:
            click.echo(f"{each.folder}: {each.was}" + ", would be ended" * bool(each.holder))
        return
    refused = [ending for ending in endings if not _ask(ending)]
    ended, slow = _wait([ending for ending in endings if ending not in refused], patience, as_json)
    code, rows = _end_there(remote, ["--wait", f"{patience:g}s" if patience else "0"])
    if as_json:
        echo_json([*ended, *rows])
    elif not endings and not remote:
        click.echo("no runs to end here")
    for row in [] if as_json else rows:
        click.echo(_sentence(cast("CancelledRun", row)))
    from psiflow_cli import duration

    within = f"within {duration.human(patience)}" if patience else "yet"
    for ending in slow:
        job = ending.holder.get("slurm_job_id")
        problem(
            f"{ending.folder}: has not ended {within}: {ending.holder_text}",
            f"it was asked to stop; scancel {job} would end its entire SLURM job"
            if job
            else "it was asked to stop: look again later",
        )
    failed = any(end["left"] for end in ended)
    sys.exit(CANNOT_CREATE if refused else STOPPED if slow or failed else code)


def _end_there(folders: list[Path], arguments: list[str]) -> tuple[int, list[dict[str, object]]]:
    """End runs on other machines that no command here follows; returns the largest exit code, and what they say."""
    from psiflow_cli.remote import asking

    code = 0
    rows: list[dict[str, object]] = []
    for group in asking.by_machine(folders):
        try:
            ended, listed = asking.perform(group, ["cancel", "-q", *arguments])
        except PsiflowError as error:  # what has ended here must still be told
            problem(error.message, error.hint)
            code = max(code, error.exit_code)
            continue
        asking.refresh(group, fresh_s=0.0)
        code, rows = max(code, ended), [*rows, *listed]
    return code, rows


def _folders(runs: tuple[str, ...], everything: bool) -> list[Path]:
    """The run directories that are meant."""
    from pathlib import Path

    from psiflow_cli.stages.runs import run_folders

    if everything:
        return list(run_folders.find([Path(place(run)) for run in runs] or [Path()]))
    if not runs:
        raise UsageError("which run?", "give a run, or --all for every run in or below the working directory")
    folders = []
    for run in runs:
        folder = Path(place(run))
        if not (folder / "run.json").exists() and not (folder / "lock").exists():
            below = len(list(run_folders.find([folder])))
            hint = (
                f"stop the {counted(below, 'run')} below it with --all"
                if below
                else "list the runs with psiflow status"
            )
            raise NoInput(f"{run}: not a run directory", hint)
        folders.append(folder)
    return list(dict.fromkeys(folders))


def _ask(ending: Ending) -> bool:
    """Ask for an end; False where it is not ours to end."""
    try:
        ending.ask()
    except PermissionError:
        problem(f"{ending.folder}: {ending.holder_text} belongs to another user", "ask its owner")
        return False
    if ending.holder:
        note(f"{ending.folder}: {ending.holder_text} was asked to stop")
    return True


def _wait(endings: list[Ending], patience: float, quietly: bool) -> tuple[list[CancelledRun], list[Ending]]:
    """What became of those that ended in time, and those that did not."""
    deadline = time.monotonic() + patience
    ended: list[CancelledRun] = []
    while True:
        for ending in [each for each in endings if each.is_over()]:
            endings.remove(ending)
            ended.append(ending.conclude())
            if not quietly:
                click.echo(_sentence(ended[-1]))
        if not endings or time.monotonic() > deadline:
            return ended, endings
        time.sleep(_POLL_S)


def _sentence(end: CancelledRun) -> str:
    if end["total"] is None:
        return f"{end['run']}: ended before it started"
    how = {"running": f"has ended: {end['state']}", "dead": "its command had died"}
    sentence = (
        f"{end['run']}: {how.get(end['was'], 'had already ended: ' + end['state'])}, {end['done']}/{end['total']} done"
    )
    if end["cancelled"]:
        sentence += f"; cancelled its jobs {', '.join(end['cancelled'])}"
    if end["left"]:
        sentence += f"; its jobs {', '.join(end['left'])} could not be cancelled: {end['problem']}"
    if end["slurm_job_id"]:
        sentence += f"; SLURM job {end['slurm_job_id']} continues with the rest of its script"
    return sentence
