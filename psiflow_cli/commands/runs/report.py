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
    """Write one self-contained HTML page about the runs in or below DIR.

    DIR (default: the working directory) is a folder of runs, such as recipes/online-learning.sh makes, or one run
    directory. The page shows the errors of every evaluation, with a figure for those on the same frames; parity plots
    and learning curves; averages, time series, energy drift and accepted exchanges of molecular dynamics; failures by
    class; pictures of the frames with the largest force errors in the last evaluation, which can be rotated if
    chemiscope is in the workers' environment; the data sets; and all runs with states, times, core-hours and command
    lines. Running and dead runs are shown as they are now. The page is DIR/report.html, or OUT.report.html for one run,
    unless --output is given.

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
        raise NoInput(
            f"{folder}: no such folder", "give a folder with runs, or a run directory such as labelled.xyz.run"
        )
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
        as_text=_sentence,
    )  # fmt: skip


def _sentence(summary: Summary) -> str:
    counted = {"run": summary["total"], "evaluation": summary["evaluations"], "training": summary["trainings"]}
    what = ", ".join(f"{count} {word}{'s' if count != 1 else ''}" for word, count in counted.items())
    return f"{what} -> {runner.name(summary['output'])}"
