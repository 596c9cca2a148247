"""One page about the runs of a folder."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from psiflow_cli.errors import NoInput
from psiflow_cli.runtime.request import fingerprint
from psiflow_cli.stages.core.single import perform
from psiflow_cli.stages.core.workspace import Job, Workspace
from psiflow_cli.stages.plot import figures
from psiflow_cli.stages.runs import report_dynamics
from psiflow_cli.stages.runs.report_evaluated import Worst, worst, write_parity
from psiflow_cli.stages.runs.report_facts import Facts, gather
from psiflow_cli.stages.runs.report_page import page

if TYPE_CHECKING:
    from psiflow_cli.messages import Pictures, Summary


@dataclass(frozen=True)
class Report:
    """What is shown."""

    job: Job
    facts: Facts
    folder: Path

    @property
    def title(self) -> str:
        return self.folder.resolve().name


def look(folder: Path, without: Path) -> Facts:
    """What runs there are; raises NoInput where there are none."""
    facts = gather(folder, without)
    if not facts.runs:
        raise NoInput(f"{folder}: no runs at or below it", "list the runs of the working directory with psiflow status")
    return facts


def state(facts: Facts) -> str:
    """A fingerprint of all that the page shows; files count by name, size and time of their last change."""
    shown = [path for each in facts.evaluations for path in (each.file, each.plot)]
    shown += [path for each in facts.samplings for path in (each.file, each.plot)]
    paths = [path for path in (*shown, *(each.curve for each in facts.trainings)) if path]
    files = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return fingerprint([facts.runs, [each.errors for each in facts.evaluations], files])


def run(report: Report, workspace: Workspace) -> Summary:
    """Draw what is to be drawn, on a worker, and write the page; returns the summary."""
    facts = report.facts
    newest = facts.newest()
    wrong = worst(newest, workspace.read) if newest else Worst()
    workspace.run.begin(1)
    with workspace.run.guard_end():
        plain = [each.name for each in facts.evaluations if each.file and not each.plot]
        drawn: Pictures = {}
        drifts: dict[str, float | None] = {}
        if wrong.frames or plain or len(facts.comparable()) > 1 or facts.samplings:
            drawn = _draw(report, workspace, wrong, plain, drifts)
        plots = {name: Path(path) for name, path in drawn.get("plots", {}).items()}
        evaluations = [replace(each, plot=plots.get(each.name, each.plot)) for each in facts.evaluations]
        series = {name: Path(path) for name, path in drawn.get("series", {}).items()}
        samplings = [
            replace(each, plot=series.get(each.name, each.plot), drift=drifts.get(each.name))
            for each in facts.samplings
        ]
        facts = replace(facts, evaluations=evaluations, samplings=samplings)
        workspace.publish(page(report.title, report.folder, facts, wrong, drawn))
    return {
        "total": len(facts.runs), "evaluations": len(facts.evaluations), "trainings": len(facts.trainings),
        "output": report.job.output,
    }  # fmt: skip


def _draw(
    report: Report, workspace: Workspace, wrong: Worst, plain: list[str], drifts: dict[str, float | None]
) -> Pictures:
    """What `worker.plots.report.draw` returns, made in the run directory; `plain` evaluations have no picture.

    The drifts of the samplings are put into `drifts`.
    """
    folder = workspace.job.folder / "pictures"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    sources = {}
    for number, each in enumerate(each for each in report.facts.evaluations if each.name in plain):
        source = folder.absolute() / f"parity-{number}.json"
        if write_parity(each, workspace.read, source):
            sources[each.name] = str(source)
    dynamics = {}
    for number, sampling in enumerate(each for each in report.facts.samplings if each.file):
        table = folder.absolute() / f"dynamics-{number}.csv"
        drawing, drifts[sampling.name] = report_dynamics.write(sampling, workspace.read, table)
        if drawing and not sampling.plot:
            dynamics[sampling.name] = drawing
    payload = {
        "series": [
            {"name": each.name, **{quantity: row["rmse"] for quantity, row in each.errors.items()}}
            for each in report.facts.comparable()
        ],
        "frames": [each.message for each in wrong.frames],
        "errors": [each.error for each in wrong.frames],
        "sources": sources,
        "dynamics": dynamics,
        "folder": str(folder.absolute()),
        "sheets": figures.sheets(),
    }
    with workspace.session() as session:
        drawn = perform(workspace, session, "psiflow_cli.worker.plots.report:draw", payload, "pictures")
    return cast("Pictures", drawn)
