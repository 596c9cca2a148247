"""A model's predictions beside the labels of every frame, the errors, and a parity plot."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from psiflow_cli import extxyz
from psiflow_cli.bundle import Bundle
from psiflow_cli.console import note
from psiflow_cli.extxyz.labelling import near_names
from psiflow_cli.runtime.session import Task
from psiflow_cli.stages.core import failed_frames, predicted_frame
from psiflow_cli.stages.core.framewise import Work, compute
from psiflow_cli.stages.core.ids import IdSet
from psiflow_cli.stages.core.model_input import check_elements, predictions
from psiflow_cli.stages.core.results import Results, Survey
from psiflow_cli.stages.core.workspace import Job, Workspace
from psiflow_cli.stages.evaluate import uncertainty
from psiflow_cli.stages.evaluate.error_table import ErrorTable, as_text

if TYPE_CHECKING:
    from psiflow_cli.messages import ComparedFrame, Failure, Prediction, Summary

PLOTTED_FRAMES = 20_000  # a parity plot of more frames says no more; these many, evenly spaced, are drawn


@dataclass(frozen=True)
class Evaluation:
    """Which model on which frames."""

    job: Job
    model: Bundle
    family: str  # the family's module
    keys: dict[str, str] | None
    plot: str | None

    @property
    def work(self) -> Work:
        return predictions(self.model, self.family, self.job.dtype)


@dataclass
class _Labels:
    """What there is to compare with."""

    keys: dict[str, str] | None
    unlabelled: str = ""  # what to do about the first frame without energy and forces
    labelled: int = 0
    unused_stress: int = 0

    def see(self, frame: extxyz.Frame) -> None:
        """Check the labels of one frame. Raises BadData."""
        label = extxyz.labels(frame, self.keys)
        if label["energy"] is not None or label["forces"] is not None:
            self.labelled += 1
        elif not self.unlabelled:
            self.unlabelled = near_names.hint(frame, self.keys)
        self.unused_stress += extxyz.unused_stress(frame, self.keys)

    def say(self) -> None:
        """Say what is not compared."""
        if self.unlabelled and not self.labelled:
            note(f"no frame has labels to compare with; {self.unlabelled}")
        if self.unused_stress:
            note(extxyz.unused_stress_note(self.unused_stress))


def survey(evaluation: Evaluation, workspace: Workspace) -> tuple[Survey, Results, IdSet]:
    """Check every frame and its labels, and find out what is still to be computed."""
    labels = _Labels(evaluation.keys)
    seen = Survey(workspace.frames(), (), labels.see)
    labels.say()
    check_elements(seen, evaluation.model, evaluation.job)
    results = Results(workspace, evaluation.work.fingerprint, seen.distinct)
    return seen, results, results.needed(retry_failed=False)


def run(evaluation: Evaluation, workspace: Workspace) -> Summary:
    """Predict every frame; returns the summary with the error table."""
    seen, results, needed = survey(evaluation, workspace)
    workspace.run.begin(len(seen.distinct))
    with workspace.run.guard_end():
        compute(workspace, evaluation.work, seen, results, needed)
        table, apart = ErrorTable(), uncertainty.SpreadTable()
        workspace.publish(_predicted(evaluation, workspace, seen.ids, results, table, apart))
        rows, spreads = table.rows(), apart.rows()
        if evaluation.plot and rows:
            _plot(evaluation, workspace, seen, results)
    summary = failed_frames.summary(seen, results)
    return {
        "total": summary["total"], "computed": len(needed), **summary, "errors": rows,
        "table": as_text(rows) if rows else "",
        **({"spread": spreads, "spread_table": uncertainty.as_text(spreads)} if spreads else {}),
        "output": evaluation.job.output, "plot": evaluation.plot if rows else None,
        "retry": failed_frames.retry(summary),
    }  # fmt: skip


def _predicted(
    evaluation: Evaluation, workspace: Workspace, ids: array[int], results: Results, table: ErrorTable,
    apart: uncertainty.SpreadTable,
) -> Iterator[str]:  # fmt: skip
    """Every frame with its predictions; one that failed keeps its place and says why."""
    for key, frame in zip(ids, workspace.frames(), strict=True):
        if key in results.failures:
            failure = cast("Failure", results.of(key))
            yield failed_frames.text(frame, failure)
            continue
        prediction = cast("Prediction", results.of(key))
        label = extxyz.labels(frame, evaluation.keys)
        for each in (table, apart):
            each.add(label, prediction, frame.symbols, _config_type(frame))
        yield extxyz.render(
            frame,
            set_info=predicted_frame.info(prediction),
            set_columns=predicted_frame.columns(prediction),
            drop=(*extxyz.PREDICTIONS, *extxyz.FAILURE),
        )


def _config_type(frame: extxyz.Frame) -> str:
    return str(frame.info.get("config_type", ""))


def _plot(evaluation: Evaluation, workspace: Workspace, seen: Survey, results: Results) -> None:
    """Draw the parity plot on a worker, where the plotting library is."""
    assert evaluation.plot is not None
    step = max(1, len(seen) // PLOTTED_FRAMES)
    compared: list[ComparedFrame] = []
    for index, (key, frame) in enumerate(zip(seen.ids, workspace.frames(), strict=True)):
        if index % step == 0 and key not in results.failures:
            label, prediction = extxyz.labels(frame, evaluation.keys), cast("Prediction", results.of(key))
            kind = _config_type(frame)
            compared.append({"symbols": frame.symbols, "config_type": kind, "label": label, "prediction": prediction})
    source = evaluation.job.folder / "parity.json"
    source.write_text(json.dumps({"frames": compared}))
    figure = evaluation.job.folder / f"made{Path(evaluation.plot).suffix.lower()}"
    with workspace.session() as session:
        session.submit(
            Task(
                "psiflow_cli.worker.plots.parity:parity_file",
                {"source": str(source.absolute()), "path": str(figure.absolute())},
            )
        )
        _, outcome = session.next()
    source.unlink()
    if outcome.error or outcome.lost:
        raise RuntimeError(f"the parity plot could not be drawn: {outcome.error or outcome.lost}")
    temporary = workspace.run.temporary(evaluation.plot)
    temporary.write_bytes(figure.read_bytes())
    workspace.run.publish(temporary, evaluation.plot)
    figure.unlink()
