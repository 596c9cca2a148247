"""psiflow report: one page about the runs of a folder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from psiflow_cli import formats, options
from psiflow_cli.commands.shared import runner
from psiflow_cli.errors import NoInput

if TYPE_CHECKING:
    from psiflow_cli.messages import Summary


@click.command("report", cls=options.Command)
@click.argument("folder", metavar="[DIR]", default=".")
@options.common(formats.PAGE)
def command(folder: str, common: options.Common) -> None:
    """Show what the runs at or below DIR have made, on one HTML page that needs nothing else.

    DIR (the working directory, if it is left out) is a folder of runs, such as recipes/online-learning.sh makes, or one
    run directory. On the page are the errors of every evaluation, with a picture of those of the same frames; parity
    plots and learning curves; averages, series and energy drift of molecular dynamics; failures by class; the frames of
    the last evaluation whose forces are most wrong, as pictures, and to be turned with the mouse if chemiscope is in
    the workers' environment; the data that were read; and all runs with states, times, core-hours and command lines.
    What still runs or has died is shown as it is now. The page is DIR/report.html, of one run OUT.report.html, unless
    --output says otherwise.

    \b
    Examples:
      psiflow report
      psiflow report learning
      psiflow report . -o /tmp/today.html
      psiflow report labelled.xyz.run -o labels.html
    """
    from pathlib import Path

    from psiflow_cli.stages.core.workspace import Job
    from psiflow_cli.stages.runs import report

    if not os.path.isdir(folder):
        raise NoInput(f"{folder}: no such folder", "a folder with runs, or a run directory such as labelled.xyz.run")
    place = Path(folder)
    if (place / "run.json").exists():
        beside = place.parent if place.name not in ("", "..") else place.resolve().parent
        usual = str(beside / f"{place.resolve().name.removesuffix('.run')}.report.html")
    else:
        usual = os.path.join(folder, "report.html")
    output = common.output or usual
    facts = report.look(place, Path(common.run_dir or f"{output}.run"))
    # any environment that has ASE, which is what this family needs
    settings = {"folder": os.path.abspath(folder), "state": report.state(facts)}
    job = runner.on_site(Job("report", (), output, settings), common, "emt")
    shown = report.Report(job, facts, place)
    runner.perform(
        job, common,
        plan=lambda _: {"runs": len(facts.runs)},
        run=lambda opened: report.run(shown, opened),
        say=_sentence,
    )  # fmt: skip


def _sentence(summary: Summary) -> str:
    what = f"{summary['total']} runs, {summary['evaluations']} evaluations, {summary['trainings']} trainings"
    return f"{what} -> {runner.name(summary['output'])}"
