"""Some of many frames: at random, far from each other in a space of features, or by a score."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, TypedDict, cast

from psiflow_cli import extxyz, registry
from psiflow_cli.bundle import Bundle
from psiflow_cli.stages.core.framewise import compute
from psiflow_cli.stages.core.model_input import predictions
from psiflow_cli.stages.core.results import Results
from psiflow_cli.stages.core.workspace import Workspace
from psiflow_cli.stages.select import scores
from psiflow_cli.stages.select.candidates import Candidates
from psiflow_cli.stages.select.choice import choose, groups, intersection
from psiflow_cli.stages.select.request import Selection
from psiflow_cli.worker.models.expected_error import with_expected_errors

if TYPE_CHECKING:
    from psiflow_cli.messages import Prediction, PredictionResult


class Extremes(TypedDict):
    """Of the scores that were chosen, in eV/Å."""

    least: float
    largest: float


class Scored(TypedDict, total=False):
    """What is said of a choice by scores, if anything was chosen."""

    score: Extremes
    score_of: str  # `error`, `spread` or `expected error`


class Summary(Scored):
    total: int
    chosen: int
    by: str
    left_out: dict[str, int]  # how many, by reason
    failed: int
    failures: dict[str, int]
    failed_hint: str
    output: str
    rest: str | None


def run(selection: Selection, workspace: Workspace) -> Summary:
    score = array("d")
    from_frames = selection.has_scores and selection.model is None
    kinds = scores.Kinds(selection.by, bool(selection.scales))

    def see(frame: extxyz.Frame) -> None:
        counts = from_frames and frame.natoms > 1 and "failure" not in frame.info
        if counts:
            kinds.see(frame)
        score.append(scores.of_frame(frame, selection.by, selection.score, selection.keys) if counts else 0.0)

    candidates = Candidates(workspace, selection.competing, see, selection.inputs)
    workspace.run.begin(len(candidates.places) + (len(candidates.excluded) if selection.descriptor else 0))
    with workspace.run.guard_end():
        if selection.has_scores and selection.model:
            _predict(selection, selection.model, workspace, candidates, score)
        if selection.threshold:
            low, high = selection.threshold
            candidates.leave_out(lambda i: "below the threshold" if score[i] < low else "")
            candidates.leave_out(lambda i: "above the threshold" if score[i] > high else "")
        chosen = choose(selection, workspace, candidates, groups(selection, candidates, score))
        marks = bytearray(candidates.size)
        for index in chosen:
            marks[index] = 1
        candidates.leave_out(lambda index: "" if marks[index] else "not needed")
        workspace.publish(_picked(selection, workspace, marks, 1))
        if selection.rest:
            workspace.publish(_picked(selection, workspace, marks, 0), selection.rest)
    scored: Scored = {}
    if chosen and selection.has_scores:
        of_chosen = [score[index] for index in chosen]
        scored = {"score": {"least": min(of_chosen), "largest": max(of_chosen)}, "score_of": kinds.name}
    return {
        "total": candidates.size, "chosen": len(chosen), "by": selection.by,
        "left_out": {why: count for why, count in candidates.left_out.items() if count},
        "failed": candidates.failures.total(), "failures": dict(candidates.failures),
        "failed_hint": "; ".join(sorted(candidates.reasons)[:3]), **scored, "output": selection.job.output,
        "rest": selection.rest,
    }  # fmt: skip


def _predict(
    selection: Selection, model: Bundle, workspace: Workspace, candidates: Candidates, score: array[float]
) -> None:
    """Fill in the scores of all candidates; those that cannot be predicted are left out."""
    work = predictions(model, registry.potential(model.family).__name__, selection.job.dtype)
    results: Results[PredictionResult] = Results(workspace, work.fingerprint, candidates.survey.distinct)
    competing = candidates.keys(candidates.survey.distinct)
    compute(workspace, work, candidates.survey, results, intersection(results.needed(False), competing))
    candidates.fail("no prediction", results)
    places = iter([*candidates.places, -1])
    place = next(places)
    for index, frame in enumerate(workspace.frames()):
        if index == place:
            predicted = cast("Prediction", results.of(candidates.survey.ids[index]))
            prediction = with_expected_errors(predicted, selection.scales)
            score[index] = scores.of_prediction(frame, prediction, selection.by, selection.score, selection.keys)
            place = next(places)


def _picked(selection: Selection, workspace: Workspace, marks: bytearray, mark: int) -> Iterator[str]:
    frames = chain.from_iterable(workspace.frames_of(number) for number in range(selection.competing))
    for own, frame in zip(marks, frames, strict=True):
        if own == mark:
            yield extxyz.render(frame)
