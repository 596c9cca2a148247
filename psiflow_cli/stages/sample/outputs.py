"""The outputs of a sampling: the trajectory in any format, tables, a plot, averages, and frames to go on from."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli.runtime.session import Session
from psiflow_cli.stages.core import single
from psiflow_cli.stages.plot import figures
from psiflow_cli.stages.sample import averages, exchanges
from psiflow_cli.stages.sample.plumed import outputs as plumed_outputs
from psiflow_cli.stages.sample.request import Sampling
from psiflow_cli.stages.sample.trajectories import COLUMNS, Recorded
from psiflow_cli.worker.md import checkpoint

if TYPE_CHECKING:
    from psiflow_cli.messages import Summary
    from psiflow_cli.stages.core.workspace import Workspace

INTEGERS = ("walker", "bead", "step")
LIMITS = ("force", "temperature", "distance", "spread", "cell", "nan")
"""The kinds of stop that say something about the model; the others are the machine's."""


@dataclass(frozen=True)
class WorkerTask:
    """A file that is made where matplotlib and pyarrow are."""

    function: str
    source: Path  # what it is made from
    options: Mapping[str, object]
    output: str


def publish(sampling: Sampling, workspace: Workspace, paths: Sequence[Recorded], session: Session | None) -> Summary:
    """Write what is asked for; a part of the summary. Without a session, one is begun if a worker is needed."""
    outputs, table = sampling.outputs, workspace.job.folder / "properties.csv"
    tasks: list[WorkerTask] = []
    summary: Summary = {"frames": workspace.publish(_frames(paths))}
    for name, path, texts in (
        ("final", outputs.final, _final(sampling, paths)),
        ("stopped", outputs.stopped, (p.stopped() for p in paths if _is_stopped(p))),
    ):
        if path:
            summary[name] = path if _publish_some(workspace, texts, path) else None
    if outputs.properties or outputs.plot:
        columns = _write_table(table, paths)
        if outputs.properties and outputs.properties.lower().endswith(".csv"):
            single.publish_copy(workspace, table, outputs.properties)
        elif outputs.properties:
            function = "psiflow_cli.worker.plots.parquet:parquet"
            tasks.append(WorkerTask(function, table, {"columns": columns}, outputs.properties))
        if outputs.plot:
            tasks.append(WorkerTask(figures.SERIES, table, _plotted(sampling, paths), outputs.plot))
    summary |= {"properties": outputs.properties, "plot": outputs.plot}
    if sampling.plumed_outputs:
        summary["plumed"] = plumed_outputs.publish(
            workspace,
            paths,
            sampling.plumed_outputs,
            plumed_outputs.units(sampling.plumed) if sampling.plumed else {},
        )
    if tasks:
        _perform(workspace, session, tasks)
    table.unlink(missing_ok=True)
    means = averages.of_paths(sampling, paths)
    rows = {"averages": [row.message for row in means.rows], "means": [row.message for row in means.means()]}
    table_text = averages.as_text(means)
    if sampling.dynamics["exchange"]:
        summary["exchanges"] = rates = exchanges.rates(paths)
        table_text = f"{table_text}\n\n{exchanges.as_text(rates)}"
    return {**summary, **rows, "table": table_text}


def _frames(paths: Sequence[Recorded]) -> Iterator[str]:
    for path in paths:
        yield from path.frames()


def _is_stopped(path: Recorded) -> bool:
    return path.walker.stopped is not None and path.walker.stopped["kind"] in LIMITS


def _final(sampling: Sampling, paths: Sequence[Recorded]) -> Iterator[str]:
    """The frames of the walkers that came to the end; a checkpoint is read once for all that share it."""
    folder, states = None, {}
    for path in paths:
        if path.folder != folder:
            folder, last = path.folder, checkpoint.read(path.folder)
            states = dict(enumerate(last.walkers if last else (), path.walker.number))
        if path.walker.stopped is None:
            yield path.final(states[path.walker.number], sampling.dynamics)


def _publish_some(workspace: Workspace, texts: Iterator[str], path: str) -> bool:
    """Write frames if there are any, else remove what an earlier run wrote there."""
    first = next(texts, None)
    if first is None:
        workspace.run.remove_own(path)
        return False

    def every() -> Iterator[str]:
        yield first
        yield from texts

    workspace.publish(every(), path)
    return True


def _write_table(path: Path, paths: Sequence[Recorded]) -> dict[str, str]:
    """A row for each frame; returns the type of each column, int64 or double."""
    present = {"walker", "step", "time", *(name for each in paths for name in each.columns())}
    names = [name for name in COLUMNS if name in present] + sorted(present - COLUMNS.keys())
    with path.open("w", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow([COLUMNS.get(name, name) for name in names])
        for each in paths:
            table.writerows([numbers.get(name, "") for name in names] for numbers in each.numbers())
    return {COLUMNS.get(name, name): "int64" if name in INTEGERS else "double" for name in names}


def _plotted(sampling: Sampling, paths: Sequence[Recorded]) -> Mapping[str, object]:
    """What the plot says beside the table."""
    dynamics, duration = sampling.dynamics, sampling.steps * sampling.dynamics["timestep"]
    has_bath = dynamics["ensemble"] != "nve"
    walkers = [
        {
            "walker": path.walker.number,
            "start": path.walker.number // sampling.walkers,
            "atoms": len(path.walker.start["symbols"]),
            "target": path.walker.temperature if has_bath else None,
            "stopped": path.walker.stopped is not None,
        }
        for path in paths
    ]
    return {
        "walkers": walkers,
        "pressure": dynamics["pressure"] if dynamics["ensemble"] == "npt" and not sampling.pressures else None,
        "duration": duration,
        "discard": sampling.outputs.discard.until(duration),
        "sheets": figures.sheets(),
    }


def _perform(workspace: Workspace, session: Session | None, tasks: list[WorkerTask]) -> None:
    """Have files made on a worker, and publish them."""
    if session is None:
        with workspace.session() as own:
            _perform(workspace, own, tasks)
        return
    for task in tasks:
        payload = {**task.options, "source": str(task.source.absolute())}
        single.make(workspace, session, task.function, payload, task.output)
