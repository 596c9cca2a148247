"""A model's predictions beside the labels of every frame, the errors, and a parity plot."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from psiflow_cli import extxyz, voigt
from psiflow_cli.bundle import Bundle
from psiflow_cli.errors import BadData
from psiflow_cli.runtime.session import Task
from psiflow_cli.stages.core.framewise import Work, compute
from psiflow_cli.stages.core.ids import IdSet
from psiflow_cli.stages.core.results import Results, Survey
from psiflow_cli.stages.core.workspace import Job, Workspace
from psiflow_cli.stages.evaluate import uncertainty
from psiflow_cli.stages.evaluate.error_table import ErrorTable, as_text
from psiflow_cli.worker.failures import MACHINE_FAILURES

PLOTTED_FRAMES = 20_000
"""A parity plot of more frames says no more; these many, evenly spaced, are drawn."""


@dataclass(frozen=True)
class Evaluation:
    """Which model on which frames."""

    job: Job
    model: Bundle
    family: str
    """The family's module."""
    keys: dict[str, str] | None
    plot: str | None

    @property
    def work(self) -> Work:
        return predictions(self.model, self.family, self.job.dtype)


def predictions(model: Bundle, family: str, dtype: str) -> Work:
    """A model's predictions of every frame; `dtype` is the site's, or `native`."""
    return Work(
        function="psiflow_cli.worker.models.committee:evaluate",
        payload={"family": family, "members": model.members, "weights": model.weights},
        fingerprint=f"{model.fingerprint}-{dtype}",
        task_seconds=2.0,
        verb="evaluating",
    )


def survey(evaluation: Evaluation, workspace: Workspace) -> tuple[Survey, Results, IdSet]:
    """Check every frame and its labels, and find out what is still to be computed."""
    seen = Survey(workspace.frames(), (), lambda frame: void(extxyz.labels(frame, evaluation.keys)))
    foreign = seen.elements - set(evaluation.model.elements)
    if foreign == seen.elements and not evaluation.model.is_foreign:
        raise BadData(
            f"{evaluation.job.frames[0]}: the model knows none of these elements: {', '.join(sorted(foreign))}",
            f"{evaluation.model.path} was trained on {', '.join(evaluation.model.elements)}",
        )
    results = Results(workspace, evaluation.work.fingerprint, seen.distinct)
    return seen, results, results.needed(retry_failed=False)


def void(_: object) -> None:
    """Called for a check alone."""


def run(evaluation: Evaluation, workspace: Workspace) -> dict[str, Any]:
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
    failures = Counter(results.failures[k] for k in seen.ids if k in results.failures)
    reasons = sorted({results.of(k)["message"] for k in results.failures})
    return {
        "total": len(seen),
        "computed": len(needed),
        "failed": sum(failures.values()),
        "failures": dict(failures),
        "failed_hint": "; ".join(reasons[:3]),
        "errors": rows,
        "table": as_text(rows) if rows else "",
        **({"spread": spreads, "spread_table": uncertainty.as_text(spreads)} if spreads else {}),
        "output": evaluation.job.output,
        "plot": evaluation.plot if rows else None,
        "retry": any(f in MACHINE_FAILURES for f in failures),
    }


def _predicted(
    evaluation: Evaluation,
    workspace: Workspace,
    ids: array[int],
    results: Results,
    table: ErrorTable,
    apart: uncertainty.SpreadTable,
) -> Iterator[str]:
    """Every frame with its predictions; one that failed keeps its place and says why."""
    for key, frame in zip(ids, workspace.frames(), strict=True):
        prediction = results.of(key)
        if key in results.failures:
            info = {"failure": prediction["failure"], "failure_message": prediction["message"]}
            yield extxyz.render(frame, set_info=info, drop=extxyz.PREDICTIONS)
            continue
        label = extxyz.labels(frame, evaluation.keys)
        for each in (table, apart):
            each.add(label, prediction, frame.symbols, _config_type(frame))
        info = {"model_energy": prediction["energy"]}
        columns = {"model_forces": ("R", prediction["forces"])}
        if prediction["stress"] is not None:
            info["model_stress"] = voigt.to_matrix(prediction["stress"])
        if "energy_std" in prediction:
            info["model_energy_std"] = prediction["energy_std"]
            columns["model_forces_std"] = ("R", [[s] for s in prediction["forces_std"]])
        yield extxyz.render(
            frame, set_info=info, set_columns=columns, drop=(*extxyz.PREDICTIONS, "failure", "failure_message")
        )


def _config_type(frame: extxyz.Frame) -> str:
    return str(frame.info.get("config_type", ""))


def _plot(evaluation: Evaluation, workspace: Workspace, seen: Survey, results: Results) -> None:
    """Draw the parity plot on a worker, where the plotting library is."""
    assert evaluation.plot is not None
    step = max(1, len(seen) // PLOTTED_FRAMES)
    data: dict[str, list[Any]] = {"frames": []}
    for index, (key, frame) in enumerate(zip(seen.ids, workspace.frames(), strict=True)):
        if index % step == 0 and key not in results.failures:
            label, prediction = extxyz.labels(frame, evaluation.keys), results.of(key)
            row = {"symbols": frame.symbols, "config_type": _config_type(frame), "label": label}
            data["frames"].append({**row, "prediction": prediction})
    source = evaluation.job.folder / "parity.json"
    source.write_text(json.dumps(data))
    made = evaluation.job.folder / "parity.png"
    with workspace.session() as session:
        session.submit(
            Task(
                "psiflow_cli.worker.plots.parity:parity_file",
                {"source": str(source.absolute()), "path": str(made.absolute())},
            )
        )
        _, outcome = session.next()
    source.unlink()
    if outcome.error or outcome.lost:
        raise RuntimeError(f"the parity plot could not be drawn: {outcome.error or outcome.lost}")
    temporary = workspace.run.temporary(evaluation.plot)
    temporary.write_bytes(made.read_bytes())
    workspace.run.publish(temporary, evaluation.plot)
