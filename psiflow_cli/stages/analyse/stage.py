"""An analysis: read the frames, have it computed on a worker, write the curves and the figure."""

from __future__ import annotations

import csv
import io
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psiflow_cli.console import note
from psiflow_cli.stages.analyse import reading
from psiflow_cli.stages.core import single
from psiflow_cli.stages.core.workspace import Job, Workspace
from psiflow_cli.stages.plot import figures

if TYPE_CHECKING:
    from psiflow_cli.messages import AnalysedValue, Analysis, AnalysisOptions, AnalysisResult, Summary

_COMPUTE = "psiflow_cli.worker.analysis.compute:compute"
_DRAW = "psiflow_cli.worker.plots.analysis:draw"
COLUMNS = {
    "rdf": ("r_A", ""), "coordination": ("r_A", ""), "msd": ("time_fs", "A2"), "vacf": ("time_fs", ""),
    "spectrum": ("frequency_THz", "1/THz"),
}  # fmt: skip
"""What each curve is plotted against, and the unit of its values."""


@dataclass(frozen=True)
class Request:
    """What is to be analysed, and which files to write."""

    job: Job
    options: AnalysisOptions
    choice: reading.Choice
    plot: str | None


def look(request: Request, workspace: Workspace) -> dict[str, object]:
    """What would be done. Raises BadData, UsageError."""
    paths, interval, _ = reading.read(request.options, request.choice, workspace, None)
    frames = sum(path["frames"] for path in paths)
    return {"trajectories": len(paths), "frames": frames, **({"interval_fs": interval} if interval else {})}


def run(request: Request, workspace: Workspace) -> Summary:
    """Compute and write everything; returns the summary."""
    look(request, workspace)
    folder = workspace.job.folder / "frames"
    workspace.run.begin(1)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        with workspace.run.guard_end(), workspace.session() as session:
            folder.mkdir(mode=0o700)
            paths, interval, remarks = reading.read(request.options, request.choice, workspace, folder)
            analysis: Analysis = {**request.options, "paths": paths, "interval": interval}
            result: AnalysisResult = single.perform(workspace, session, _COMPUTE, {"analysis": analysis}, "analysis")
            _write(request, workspace, result)
            if request.plot:
                drawn = {"curves": result["curves"], "sheets": figures.sheets()}
                single.make(workspace, session, _DRAW, drawn, request.plot)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for remark in (*remarks, *result["remarks"]):
        note(f"warning: {remark}")
    return {
        "total": 1, "failed": 0, "frames": sum(path["frames"] for path in paths), "trajectories": len(paths),
        "interval_fs": interval, "blocks": result["blocks"], "block_frames": result["block_frames"],
        "values": result["values"], "remarks": [*remarks, *result["remarks"]], "table": as_text(result["values"]),
        "output": request.job.output, "plot": request.plot,
    }  # fmt: skip


def _write(request: Request, workspace: Workspace, result: AnalysisResult) -> None:
    """All values and curves in one long table."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("quantity", "of", "against", "x", "value", "error", "unit"))
    for row in result["values"]:
        error = "" if row["error"] is None else repr(row["error"])
        table.writerow((row["quantity"], row["of"], "", "", repr(row["value"]), error, row["unit"]))
    for curve in result["curves"]:
        against, unit = COLUMNS[curve["quantity"]]
        errors = list(map(repr, curve["error"])) or [""] * len(curve["x"])
        for x, y, each in zip(curve["x"], curve["y"], errors, strict=True):
            table.writerow((curve["quantity"], curve["of"], against, repr(x), repr(y), each, unit))
    workspace.run.publish_text(text.getvalue(), request.job.output)


def as_text(values: list[AnalysedValue]) -> str:
    """The values with their errors, a line for each."""
    rows = [
        (row["quantity"], row["of"], f"{row['value']:.5g}", "" if row["error"] is None else f"± {row['error']:.2g}",
         row["unit"])
        for row in values
    ]  # fmt: skip
    widths = [max((len(row[k]) for row in rows), default=0) for k in range(4)]
    lines = (
        f"{name:<{widths[0]}}  {of:<{widths[1]}}  {value:>{widths[2]}}  {error:<{widths[3]}}  {unit}".rstrip()
        for name, of, value, error, unit in rows
    )
    return "\n".join(lines)
