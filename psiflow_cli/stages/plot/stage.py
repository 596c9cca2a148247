"""A figure of files that there are: parity, learning curves or time series."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli.errors import BadData, NoInput, UsageError
from psiflow_cli.site import environments
from psiflow_cli.stages.core import single
from psiflow_cli.stages.core.workspace import Job, Workspace
from psiflow_cli.stages.plot import curves, figures, series
from psiflow_cli.stages.plot.compared import Compared, labels_and_predictions

if TYPE_CHECKING:
    from psiflow_cli.messages import Summary

TABLES = (".csv", ".parquet")
_NOTHING = {
    "parity": ("no frame has predictions beside labels", "add predictions to labelled frames with psiflow evaluate"),
    "series": ("no frame has the time and temperature of a step", "give a trajectory that psiflow sample wrote"),
}


@dataclass(frozen=True)
class Plot:
    """Which files to draw, and how."""

    job: Job
    files: tuple[str, ...]  # frames, metrics.json of models, or tables
    kind: str | None  # parity, learning-curve or series; None: what the files are
    keys: dict[str, str] | None
    style: tuple[str, ...]


def sources(files: Sequence[str], kind: str | None) -> tuple[str | None, tuple[str, ...]]:
    """The kind as far as names tell it, and the files; of a model bundle its metrics. Raises UsageError, NoInput."""
    named = [_source(file) for file in files]
    kinds = list(dict.fromkeys(each for each, _ in named))
    if len(kinds) > 1:
        first, second = (next(f for f, n in zip(files, named, strict=True) if n[0] == each) for each in kinds[:2])
        raise UsageError(f"{first} and {second} cannot be drawn in one figure", "give files of one kind")
    if kinds[0] and kind not in (None, kinds[0]):
        raise UsageError(f"--kind {kind}: {files[0]} has no data for it", f"use --kind {kinds[0]}")
    if not kinds[0] and kind == "learning-curve":
        raise UsageError(f"--kind {kind}: {files[0]} has no data for it", "give model bundles, or their metrics.json")
    return kinds[0], tuple(file for _, file in named)


def _source(file: str) -> tuple[str | None, str]:
    if os.path.isdir(file):
        metrics = os.path.join(file, curves.METRICS)
        if not os.path.isfile(metrics):
            raise NoInput(f"{file}: it contains no {curves.METRICS}", "give a model bundle that psiflow train wrote")
        return "learning-curve", metrics
    if file.lower().endswith(".json"):
        return "learning-curve", file
    return "series" if file.lower().endswith(TABLES) else None, file


def look(plot: Plot, workspace: Workspace) -> tuple[str, int]:
    """The kind of figure, and how many frames it shows (0: not counted). Raises BadData for what cannot be drawn."""
    named, _ = sources(plot.files, plot.kind)
    if named == "series":
        tables = [file for file in plot.files if file.lower().endswith(".csv")]
        return named, sum(1 for file in tables for _ in series.of_table(file, Path(file)))
    if named:
        curves.read(plot.files)
        return named, 0
    counts = {"parity": 0, "series": 0}
    for frame in workspace.frames():
        counts["parity"] += labels_and_predictions(frame, plot.keys) is not None
        counts["series"] += series.is_step(frame)
    kind = plot.kind or ("parity" if counts["parity"] or not counts["series"] else "series")
    if not counts[kind]:
        what, hint = _NOTHING[kind]
        names = ", ".join("<stdin>" if file == "-" else file for file in plot.files)
        if not plot.kind:
            what = f"{what}, nor the time and temperature of a step"
            hint = f"{hint}; or give a trajectory of psiflow sample"
        raise BadData(f"{names}: {what}", hint)
    return kind, counts[kind]


def run(plot: Plot, workspace: Workspace) -> Summary:
    """Draw the figure on a worker; returns the summary."""
    kind, count = look(plot, workspace)
    payload: dict[str, object] = {"sheets": figures.sheets(plot.style)}
    workspace.run.begin(1)
    source = (workspace.job.folder / "plotted").absolute()
    with workspace.run.guard_end():
        if kind == "parity":
            function, data = figures.PARITY, _parity(plot, workspace, source, count)
        elif kind == "series":
            function, data = figures.SERIES, _series(plot, workspace, source)
        else:
            function, data = figures.CURVES, {"curves": curves.read(plot.files)}
        single.make(workspace, None, function, {**payload, **data}, plot.job.output)
        source.unlink(missing_ok=True)
    return {"total": 1, "failed": 0, "kind": kind, "frames": count, "output": plot.job.output}


def _parity(plot: Plot, workspace: Workspace, source: Path, count: int) -> dict[str, object]:
    compared = Compared(count)
    for frame in workspace.frames():
        if labelled := labels_and_predictions(frame, plot.keys):
            compared.add(frame, *labelled)
    compared.write(source)
    return {"source": str(source)}


def _series(plot: Plot, workspace: Workspace, source: Path) -> dict[str, object]:
    walkers = series.Walkers(len(plot.files))
    walkers.write(_rows(plot, workspace), source)
    return {"source": str(source), **walkers.shown()}


def _rows(plot: Plot, workspace: Workspace) -> Iterator[series.Line]:
    if not plot.job.frames:
        for file in plot.files:
            yield from series.of_table(file, _as_csv(file, workspace))
    for number, (name, _) in enumerate(workspace.sources):
        yield from series.of_frames(name, workspace.frames_of(number))


def _as_csv(file: str, workspace: Workspace) -> Path:
    """A table that can be read here: Parquet is read where pyarrow is."""
    if file.lower().endswith(".csv"):
        return Path(file)
    environments.require(workspace.executor, {"pyarrow": file})
    table = (workspace.job.folder / "table.csv").absolute()
    payload = {"source": os.path.abspath(file), "path": str(table)}
    with workspace.session() as session:
        single.perform(workspace, session, "psiflow_cli.worker.plots.parquet:as_csv", payload, file, journal=False)
    return table
