"""Which of the candidates are taken: by their rank, or far from each other in a space of features."""

from __future__ import annotations

import hashlib
from array import array
from base64 import b64decode
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple, TypedDict, cast

from psiflow_cli.stages.core.framewise import compute
from psiflow_cli.stages.core.ids import IdSet
from psiflow_cli.stages.core.results import Results
from psiflow_cli.stages.core.single import perform
from psiflow_cli.stages.core.workspace import Workspace
from psiflow_cli.stages.select import scores
from psiflow_cli.stages.select.candidates import Candidates
from psiflow_cli.stages.select.request import Selection

if TYPE_CHECKING:
    from psiflow_cli.messages import Failure


class Features(TypedDict):
    """A structure as a point in a space."""

    features: str  # little-endian float32 in base64


class Rows(TypedDict):
    """A group for `worker.models.farthest_point.choose`, by the rows of its file of features."""

    rows: list[int]
    number: int | None
    ranked: bool  # the rows are taken as they come, not the farthest first


class Choice(TypedDict):
    chosen: list[int]  # rows
    near: int  # how many were passed over


class Group(NamedTuple):
    """Ranked candidates, and how many of them are wanted (None: as many as there are)."""

    places: list[int]
    number: int | None


def groups(selection: Selection, candidates: Candidates, score: array[float]) -> list[Group]:
    """All candidates together, or by composition in proportion."""
    ids = candidates.survey.ids
    if selection.has_scores:
        order = scores.ranked(candidates.places, score, ids)
    else:
        order = sorted(
            candidates.places, key=lambda place: hashlib.sha256(f"{selection.seed} {ids[place]}".encode()).digest()
        )
    if not selection.stratify:
        return [Group(order, selection.number)]
    by_composition: dict[str, list[int]] = {}
    for place in order:
        by_composition.setdefault(candidates.composition(place), []).append(place)
    alike = [by_composition[composition] for composition in sorted(by_composition)]
    if selection.number is None:
        return [Group(places, None) for places in alike]
    return list(map(Group, alike, shares([len(places) for places in alike], selection.number)))


def shares(sizes: Sequence[int], number: int) -> list[int]:
    """How many of each of several groups make `number`: in proportion, each one at least where it goes."""
    total = sum(sizes)
    number = min(number, total)
    least = 1 if number >= len(sizes) else 0
    exact = [number * size / total for size in sizes]
    counts = [max(least, int(e)) for e in exact]
    while sum(counts) != number:
        up = sum(counts) < number
        at = max(
            (i for i in range(len(sizes)) if (counts[i] < sizes[i] if up else counts[i] > least)),
            key=lambda i: (exact[i] - counts[i]) if up else (counts[i] - exact[i]),
        )
        counts[at] += 1 if up else -1
    return counts


def choose(selection: Selection, workspace: Workspace, candidates: Candidates, groups: list[Group]) -> list[int]:
    if selection.descriptor is None:
        return [place for group in groups for place in group.places[: group.number]]
    survey = candidates.survey
    work = selection.features(survey.elements)
    results: Results[Features | Failure] = Results(workspace, work.fingerprint, survey.distinct)
    concerned = candidates.keys(survey.distinct)
    for key in candidates.excluded:
        concerned.add(key)
    compute(workspace, work, survey, results, intersection(results.needed(False), concerned))
    candidates.fail("no features", results)
    taken = [key for key in candidates.excluded if key not in results.failures]
    rows = {place: row for row, place in enumerate(candidates.places, len(taken))}
    ranked = selection.by != "farthest"
    of_groups: list[Rows] = [
        {
            "rows": [rows[place] for place in (group.places if ranked else sorted(group.places)) if place in rows],
            "number": group.number,
            "ranked": ranked,
        }
        for group in groups
    ]
    keys = chain(taken, (survey.ids[place] for place in candidates.places))
    points = (cast("Features", results.of(key))["features"] for key in keys)
    choices = _farthest(workspace, points, of_groups, len(taken), selection.closest)
    if near := sum(choice["near"] for choice in choices):
        candidates.left_out["too near"] += near
        candidates.left_out["not needed"] -= near
    return [candidates.places[row - len(taken)] for choice in choices for row in choice["chosen"]]


def intersection(a: IdSet, b: IdSet) -> IdSet:
    common = a.copy()
    for key in a:
        if key not in b:
            common.discard(key)
    return common


def _farthest(
    workspace: Workspace, points: Iterable[str], of_groups: list[Rows], taken: int, closest: float
) -> list[Choice]:
    """`worker.models.farthest_point.choose` on a file of features, which is there meanwhile."""
    path = workspace.job.folder / "features.f32"
    width = 0
    with path.open("wb") as stream:
        for point in points:
            row = b64decode(point)
            width = len(row) // 4
            stream.write(row)
    if not width:
        return [{"chosen": [], "near": 0} for _ in of_groups]
    payload = {"path": str(path.absolute()), "width": width, "taken": taken, "groups": of_groups, "closest": closest}
    function = "psiflow_cli.worker.models.farthest_point:choose"
    try:
        with workspace.session() as session:
            return cast("list[Choice]", perform(workspace, session, function, payload, "choice"))
    finally:
        path.unlink(missing_ok=True)
