"""psiflow clean: free the space of runs that have ended."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, cast

import click

from psiflow_cli import options
from psiflow_cli.commands.runs.status import place
from psiflow_cli.console import echo_json, note
from psiflow_cli.errors import PsiflowError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from psiflow_cli.messages import CleanedRun
    from psiflow_cli.stages.runs.clean import Cleaning

_RUNS = (
    "Without its run directory, a command cannot be up to date or continue: it computes everything again and needs "
    "--overwrite to replace its output."
)
_OTHERS = "What was computed with other settings is computed again if a command asks for it."


@click.command("clean", cls=options.Command)
@options.runs
@options.flag("--other-settings others", "Also delete results computed with earlier settings.")
@options.flag("--runs whole", "Delete whole run directories of finished runs.")
@options.flag("--yes", "Do not ask for confirmation.")
@options.flag("--dry-run", "Show what would be deleted without deleting it.")
@options.flag("--json as_json", "Print JSON to stdout; needs --yes or --dry-run.")
@options.talk
def command(runs: tuple[str, ...], others: bool, whole: bool, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Delete what the runs in or below RUN (default: the working directory) do not need, after showing how much
    that is.

    \b
    always            inputs and logs of the tasks that did not fail, Parsl's logs,
                      the trainer's copies of the data, older trainings whose models
                      were replaced, and what killed commands left unfinished
    --other-settings  labels and other results, trainings and walkers of settings
                      other than those of the last command; of done runs only
    --runs            the run directories of done runs whose outputs are unchanged:
                      the same command then computes everything again, and needs
                      --overwrite to replace its output

    Outputs, logs of failures, files that psiflow did not write and running runs are never touched. Runs that are
    not done keep their journal, so that the same command can continue. Symbolic links are not followed. For a site
    with [remote], files on its machine are deleted as well.

    \b
    Examples:
      psiflow clean --dry-run
      psiflow clean rounds/ --yes
      psiflow clean old.xyz --runs
    """  # fmt: skip
    from pathlib import Path

    from psiflow_cli.remote import asking
    from psiflow_cli.stages.runs import clean, run_folders

    if as_json and not (yes or dry_run):
        raise UsageError(
            "--json cannot ask for confirmation", "use --yes to delete, or --dry-run to see what would be deleted"
        )
    folders = run_folders.find([Path(place(run)) for run in runs] or [Path()])
    local = [clean.plan(folder, others, whole) for folder in dict.fromkeys(folders)]
    flags = ["--other-settings"] * others + ["--runs"] * whole
    groups = asking.by_machine(each.folder for each in local if not each.why_kept)
    remote = [each for group in groups for each in _on_other_machine(group, [*flags, "--dry-run"])]
    planned = [*local, *remote]
    todo = [each for each in planned if each.items]
    if not as_json:
        _show(planned, todo, others, whole)
    deleted = []
    if todo and not dry_run and (yes or _confirmed()):
        deleted_there = {each.place for group in groups for each in _on_other_machine(group, [*flags, "--yes"])}
        for each in todo:
            if each.place in deleted_there if each.host else clean.delete(each):
                deleted.append(each)
            else:
                note(f"{each.place}: a command was started there in the meantime; nothing was deleted")
        if not as_json:
            click.echo(f"freed {size(sum(each.size for each in deleted))}")
    if as_json:
        rows = [{**each.described(), "deleted": each in deleted} for each in planned]
        total = sum(each.size for each in (todo if dry_run else deleted))
        echo_json({"bytes": total, "dry_run": dry_run, "runs": rows})


def _on_other_machine(folders: list[Path], arguments: list[str]) -> list[Cleaning]:
    """What can go, or with --yes has gone, of runs on another machine; nothing where that does not answer."""
    from psiflow_cli.remote import asking, record
    from psiflow_cli.stages.runs import clean

    remote_run = record.read(folders[0])
    try:
        _, reports = asking.perform(folders, ["clean", *arguments])
    except PsiflowError as error:
        note(f"{error.message}: nothing was deleted there")
        return []
    rows = cast("list[CleanedRun]", [row for each in reports for row in cast("list[object]", each["runs"])])
    return [clean.from_other_machine(remote_run["host"] if remote_run else "", row) for row in rows]


def _confirmed() -> bool:
    """Ask; raises UsageError where nobody can answer."""
    if not sys.stdin.isatty():
        raise UsageError(
            "cannot ask for confirmation here, so nothing was deleted",
            "use --yes to delete, or --dry-run to see what would be deleted",
        )
    if click.confirm("Delete this?", err=True):
        return True
    note("nothing was deleted")
    return False


def _show(planned: list[Cleaning], todo: list[Cleaning], others: bool, whole: bool) -> None:
    untouched = [each for each in planned if each.why_kept]
    for each in untouched:
        note(f"{each.place} is not deleted: it {each.why_kept}")
    if not todo:
        click.echo("nothing to delete")
        return
    click.echo(f"{'FREES':>9} {'FILES':>7} {'WHAT':32} RUN")
    for each in todo:
        for item in each.items:
            click.echo(f"{size(item.size):>9} {item.files:>7} {item.what:32} {each.place}")
    click.echo(f"{size(sum(each.size for each in todo)):>9} {sum(i.files for e in todo for i in e.items):>7} in all")
    if any(item.whole for each in todo for item in each.items):
        note(_RUNS)
    if others:
        note(_OTHERS)


def size(count: int) -> str:
    """Bytes for a person: `512 B`, `3.4 kB`, `1.2 GB`."""
    number, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if number < 999.5:
            break
        number, unit = number / 1000, larger
    return f"{number:.0f} {unit}" if unit == "B" or number >= 99.5 else f"{number:.1f} {unit}"
