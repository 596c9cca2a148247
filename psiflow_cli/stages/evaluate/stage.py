"""A model's predictions beside the labels of every frame, the errors, and a parity plot."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from psiflow_cli import bundle, extxyz
from psiflow_cli.bundle import Bundle
from psiflow_cli.console import note
from psiflow_cli.errors import counted
from psiflow_cli.extxyz.frame import is_isolated_atom
from psiflow_cli.extxyz.labelling import near_names
from psiflow_cli.stages.core import failed_frames, predicted_frame, single
from psiflow_cli.stages.core.framewise import Work, compute
from psiflow_cli.stages.core.ids import IdSet
from psiflow_cli.stages.core.model_input import check_elements, predictions
from psiflow_cli.stages.core.results import Results, Survey
from psiflow_cli.stages.core.workspace import Job, Workspace
from psiflow_cli.stages.evaluate import calibration, uncertainty
from psiflow_cli.stages.evaluate.error_table import ErrorTable, as_csv, as_text
from psiflow_cli.stages.plot import figures
from psiflow_cli.stages.plot.compared import Compared, config_type
from psiflow_cli.worker.models.expected_error import with_expected_errors

if TYPE_CHECKING:
    from psiflow_cli.messages import ErrorScales, Failure, Prediction, Summary


@dataclass(frozen=True)
class Evaluation:
    """Which model on which frames."""

    job: Job
    model: Bundle
    family: str  # the family's module
    keys: dict[str, str] | None
    plot: str | None
    table: str | None = None  # a file for the errors, as CSV
    calibrate: bool = False
    scales: ErrorScales | None = None  # of a calibrated committee

    @property
    def work(self) -> Work:
        return predictions(self.model, self.family, self.job.dtype)


@dataclass
class _Labels:
    """What there is to compare with."""

    keys: dict[str, str] | None
    unlabelled: str = ""  # what to do about the first frame without energy and forces
    labelled: int = 0
    with_forces: int = 0  # without isolated atoms
    unused_stress: int = 0
    head: str | None = None  # that predicts
    of_others: int = 0  # frames that are labelled by another one

    def see(self, frame: extxyz.Frame) -> None:
        """Check the labels of one frame. Raises BadData."""
        label = extxyz.labels(frame, self.keys)
        if label["energy"] is not None or label["forces"] is not None:
            self.labelled += 1
        elif not self.unlabelled:
            self.unlabelled = near_names.hint(frame, self.keys)
        self.with_forces += label["forces"] is not None and not is_isolated_atom(frame)
        self.unused_stress += extxyz.unused_stress(frame, self.keys)
        self.of_others += self.head is not None and str(frame.info.get("head", self.head)) != self.head

    def note_uncompared(self) -> None:
        """Say what is not compared."""
        if self.unlabelled and not self.labelled:
            note(f"no frame has labels to compare with; {self.unlabelled}")
        if self.of_others:
            note(f"another head than {self.head} in {counted(self.of_others, 'frame')}: labels from another method")
        if self.unused_stress:
            note(extxyz.unused_stress_note(self.unused_stress))


def survey(evaluation: Evaluation, workspace: Workspace) -> tuple[Survey, Results, IdSet]:
    """Check every frame and its labels, and find out what is still to be computed."""
    labels = _Labels(evaluation.keys, head=evaluation.model.head)
    surveyed = Survey(workspace.frames(), evaluation.model.frame_inputs, labels.see)
    labels.note_uncompared()
    check_elements(surveyed, evaluation.model, evaluation.job)
    if evaluation.calibrate:
        calibration.check_frames(evaluation.model, workspace, labels.with_forces)
    results = Results(workspace, evaluation.work.fingerprint, surveyed.distinct)
    return surveyed, results, results.needed(retry_failed=False)


def run(evaluation: Evaluation, workspace: Workspace) -> Summary:
    """Predict every frame; returns the summary with the error table."""
    surveyed, results, needed = survey(evaluation, workspace)
    workspace.run.begin(len(surveyed.distinct))
    with workspace.run.guard_end():
        compute(workspace, evaluation.work, surveyed, results, needed)
        table, apart = ErrorTable(), uncertainty.SpreadTable()
        calibrated, curves = None, {}
        if evaluation.calibrate or evaluation.scales:
            compared = _compared(evaluation, workspace, surveyed.ids, results)
            if evaluation.calibrate:
                calibrated = calibration.calibrate(evaluation.model, workspace, compared)
                evaluation = replace(evaluation, scales=bundle.scales_of(calibrated))
            curves = compared.described(evaluation.scales) if evaluation.scales else {}
        workspace.publish(_predicted(evaluation, workspace, surveyed.ids, results, table, apart))
        rows, spreads = table.rows(), apart.rows()
        if evaluation.plot and rows:
            _plot(evaluation, workspace, surveyed, results)
        if evaluation.table:
            workspace.run.publish_text(as_csv(rows), evaluation.table)
        if calibrated:
            calibration.publish(workspace, evaluation.model, calibrated)
    summary = failed_frames.summary(surveyed, results)
    return {
        "total": summary["total"], "computed": len(needed), **summary, "errors": rows,
        "table": as_text(rows) if rows else "",
        **({"spread": spreads, "spread_table": uncertainty.as_text(spreads, curves)} if spreads else {}),
        **({"calibration": curves} if curves else {}),
        **({"calibrated": str(evaluation.model.path / bundle.CALIBRATION)} if calibrated else {}),
        "output": evaluation.job.output, "plot": evaluation.plot if rows else None, "table_file": evaluation.table,
        "retry": failed_frames.machine_failed(summary),
    }  # fmt: skip


def _compared(evaluation: Evaluation, workspace: Workspace, ids: array[int], results: Results) -> calibration.Compared:
    """The spreads and errors of all labelled frames that were predicted."""
    compared = calibration.Compared()
    for place, (key, frame) in enumerate(zip(ids, workspace.frames(), strict=True)):
        if key not in results.failures:
            compared.add(place, frame, extxyz.labels(frame, evaluation.keys), cast("Prediction", results.of(key)))
    return compared


def _predicted(
    evaluation: Evaluation, workspace: Workspace, ids: array[int], results: Results, table: ErrorTable,
    apart: uncertainty.SpreadTable,
) -> Iterator[str]:  # fmt: skip
    """Every frame with its predictions; one that failed keeps its place and says why."""
    several = len(set(evaluation.job.frames)) > 1
    for key, frame in zip(ids, workspace.frames(), strict=True):
        if key in results.failures:
            failure = cast("Failure", results.of(key))
            yield failed_frames.text(frame, failure)
            continue
        prediction = with_expected_errors(cast("Prediction", results.of(key)), evaluation.scales)
        label = extxyz.labels(frame, evaluation.keys)
        for each in (table, apart):
            each.add(label, prediction, frame.symbols, config_type(frame), frame.place.source if several else "")
        yield extxyz.render(
            frame,
            set_info=predicted_frame.info(prediction),
            set_columns=predicted_frame.columns(prediction),
            drop=(*extxyz.PREDICTIONS, *extxyz.FAILURE),
        )


def _plot(evaluation: Evaluation, workspace: Workspace, surveyed: Survey, results: Results) -> None:
    """Draw the parity plot on a worker, where the plotting library is."""
    assert evaluation.plot is not None
    compared = Compared(len(surveyed))
    for key, frame in zip(surveyed.ids, workspace.frames(), strict=True):
        if key not in results.failures:
            prediction = with_expected_errors(cast("Prediction", results.of(key)), evaluation.scales)
            compared.add(frame, extxyz.labels(frame, evaluation.keys), prediction)
    source = evaluation.job.folder / "parity.json"
    compared.write(source)
    payload = {"source": str(source.absolute()), "sheets": figures.sheets()}
    single.make(workspace, None, figures.PARITY, payload, evaluation.plot)
    source.unlink()
