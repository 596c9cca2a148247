"""Some of many frames: at random, far from each other in a space of features, or by a score."""

from __future__ import annotations

import hashlib
from array import array
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from psiflow_cli import extxyz, registry
from psiflow_cli.bundle import Bundle
from psiflow_cli.messages import Wire
from psiflow_cli.stages.core.framewise import Work, compute
from psiflow_cli.stages.core.ids import IdSet
from psiflow_cli.stages.core.predictions import predictions
from psiflow_cli.stages.core.results import Results
from psiflow_cli.stages.core.single import perform
from psiflow_cli.stages.core.workspace import Job, Workspace
from psiflow_cli.stages.select import features, scores
from psiflow_cli.stages.select.candidates import Pool


@dataclass(frozen=True)
class Selection:
    """What is chosen from what, and how."""

    job: Job
    """Its frames are the inputs, and behind them what is there already."""
    competing: int
    """How many of the job's files are chosen from."""
    number: int | None
    by: str
    """`random`, `farthest`, `committee` or `error`."""
    score: str
    """`max` or `mean`; see `scores`."""
    threshold: tuple[float, float] | None
    """The least and the largest score of those that compete."""
    closest: float
    """The least distance of a chosen frame from others, in the space of the features; 0: none."""
    stratify: bool
    seed: int
    keys: dict[str, str] | None
    model: Bundle | None
    """Whose predictions and features count; without one, the frames say what was predicted."""
    descriptor: str | None
    """`model` or `soap`: the space in which distances count, if they do."""
    rest: str | None

    @property
    def has_scores(self) -> bool:
        """Whether the choice is by a score."""
        return self.by in ("committee", "error")

    def features(self, elements: set[str]) -> Work:
        """What makes the features of frames of these elements."""
        if self.descriptor == "model" and self.model:
            return features.of_model(self.model, self.job.dtype)
        return features.soap(elements)


def run(selection: Selection, workspace: Workspace) -> dict[str, Any]:
    """Choose; returns the summary."""
    score = array("d")
    from_frames = selection.has_scores and selection.model is None

    def see(frame: extxyz.Frame) -> None:
        counts = from_frames and frame.natoms > 1 and "failure" not in frame.info
        score.append(scores.of_frame(frame, selection.by, selection.score, selection.keys) if counts else 0.0)

    pool = Pool(workspace, selection.competing, see)
    workspace.run.begin(len(pool.candidates) + (len(pool.there) if selection.descriptor else 0))
    with workspace.run.guard_end():
        if selection.has_scores and selection.model:
            _predict(selection, selection.model, workspace, pool, score)
        if selection.threshold:
            low, high = selection.threshold
            pool.leave_out(lambda i: "below the threshold" if score[i] < low else "")
            pool.leave_out(lambda i: "above the threshold" if score[i] > high else "")
        groups = _groups(selection, pool, score)
        chosen = _chosen(selection, workspace, pool, groups)
        marks = bytearray(pool.size)
        for index in chosen:
            marks[index] = 1
        pool.leave_out(lambda index: "" if marks[index] else "not needed")
        workspace.publish(_picked(selection, workspace, marks, 1))
        if selection.rest:
            workspace.publish(_picked(selection, workspace, marks, 0), selection.rest)
    extremes = [score[index] for index in chosen] if selection.has_scores else []
    return {
        "total": pool.size,
        "chosen": len(chosen),
        "by": selection.by,
        "left_out": {why: count for why, count in pool.left_out.items() if count},
        "failed": pool.failures.total(),
        "failures": dict(pool.failures),
        "failed_hint": "; ".join(sorted(pool.reasons)[:3]),
        **({"score": {"least": min(extremes), "largest": max(extremes)}} if extremes else {}),
        "output": selection.job.output,
        "rest": selection.rest,
    }


def _predict(selection: Selection, model: Bundle, workspace: Workspace, pool: Pool, score: array[float]) -> None:
    """Fill in the scores of all candidates; those that cannot be predicted are left out."""
    work = predictions(model, registry.load("models", model.family).__name__, selection.job.dtype)
    results = Results(workspace, work.of, pool.survey.distinct)
    wanted = pool.keys(pool.survey.distinct)
    compute(workspace, work, pool.survey, results, _both(results.needed(False), wanted))
    pool.fail("no prediction", results)
    places = iter([*pool.candidates, -1])
    place = next(places)
    for index, frame in enumerate(workspace.frames()):
        if index == place:
            prediction = results.of(pool.survey.ids[index])
            score[index] = scores.of_prediction(frame, prediction, selection.by, selection.score, selection.keys)
            place = next(places)


def _both(a: IdSet, b: IdSet) -> IdSet:
    both = a.copy()
    for key in a:
        if key not in b:
            both.discard(key)
    return both


def _groups(selection: Selection, pool: Pool, score: array[float]) -> list[tuple[list[int], int | None]]:
    """Ranked candidates and how many of them are wanted: all together, or by composition in proportion."""
    ids = pool.survey.ids
    if selection.has_scores:
        order = scores.ranked(pool.candidates, score, ids)
    else:
        order = sorted(
            pool.candidates, key=lambda index: hashlib.sha256(f"{selection.seed} {ids[index]}".encode()).digest()
        )
    if not selection.stratify:
        return [(order, selection.number)]
    kinds: dict[str, list[int]] = {}
    for index in order:
        kinds.setdefault(pool.kind(index), []).append(index)
    groups = [kinds[kind] for kind in sorted(kinds)]
    if selection.number is None:
        return [(group, None) for group in groups]
    return list(zip(groups, shares([len(group) for group in groups], selection.number), strict=True))


def shares(sizes: list[int], number: int) -> list[int]:
    """How many of each of several groups make `number`: in proportion, each one at least where it goes."""
    total = sum(sizes)
    number = min(number, total)
    least = 1 if number >= len(sizes) else 0
    exact = [number * size / total for size in sizes]
    found = [max(least, int(e)) for e in exact]
    while sum(found) != number:
        up = sum(found) < number
        at = max(
            (i for i in range(len(sizes)) if (found[i] < sizes[i] if up else found[i] > least)),
            key=lambda i: (exact[i] - found[i]) if up else (found[i] - exact[i]),
        )
        found[at] += 1 if up else -1
    return found


def _chosen(
    selection: Selection, workspace: Workspace, pool: Pool, groups: list[tuple[list[int], int | None]]
) -> list[int]:
    if selection.descriptor is None:
        return [index for group, number in groups for index in group[:number]]
    work = selection.features(pool.survey.elements)
    results = Results(workspace, work.of, pool.survey.distinct)
    wanted = pool.keys(pool.survey.distinct)
    for key in pool.there:
        wanted.add(key)
    compute(workspace, work, pool.survey, results, _both(results.needed(False), wanted))
    pool.fail("no features", results)
    taken = [key for key in pool.there if key not in results.failures]
    ids = pool.survey.ids
    rows = {index: row for row, index in enumerate(pool.candidates, len(taken))}
    payload = {
        "taken": len(taken),
        "groups": [
            {
                "rows": [
                    rows[index] for index in (group if selection.by != "farthest" else sorted(group)) if index in rows
                ],
                "number": number,
                "ranked": selection.by != "farthest",
            }
            for group, number in groups
        ],
        "closest": selection.closest,
    }
    found = _farthest(workspace, (results.of(key) for key in chain(taken, (ids[i] for i in pool.candidates))), payload)
    near = sum(group["near"] for group in found)
    chosen = [pool.candidates[row - len(taken)] for group in found for row in group["chosen"]]
    if near:
        pool.left_out["too near"] += near
        pool.left_out["not needed"] -= near
    return chosen


def _farthest(workspace: Workspace, results: Iterator[Wire], payload: Wire) -> list[Wire]:
    """`worker.models.farthest_point.choose` on a file of features, which is there meanwhile."""
    path = workspace.job.folder / "features.f32"
    width = 0
    with path.open("wb") as stream:
        for result in results:
            row = b64decode(result["features"])
            width = len(row) // 4
            stream.write(row)
    if not width:
        return [{"chosen": [], "near": 0} for _ in payload["groups"]]
    try:
        with workspace.session() as session:
            given = {**payload, "path": str(path.absolute()), "width": width}
            found: list[Wire] = perform(
                workspace, session, "psiflow_cli.worker.models.farthest_point:choose", given, "choice"
            )
    finally:
        path.unlink(missing_ok=True)
    return found


def _picked(selection: Selection, workspace: Workspace, marks: bytearray, mark: int) -> Iterator[str]:
    frames = chain.from_iterable(workspace.frames_of(number) for number in range(selection.competing))
    for own, frame in zip(marks, frames, strict=True):
        if own == mark:
            yield extxyz.render(frame)
