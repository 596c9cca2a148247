"""What the frames still to be computed will cost, from what earlier frames of the same composition took."""

from __future__ import annotations

from collections import Counter, defaultdict

from psiflow_cli.stages.core.ids import IdSet
from psiflow_cli.stages.core.results import Survey
from psiflow_cli.stages.core.workspace import Workspace

Composition = tuple[tuple[str, int], ...]


def estimate(workspace: Workspace, surveyed: Survey, needed: IdSet, fingerprint: str) -> dict[str, object]:
    """Where `needed` would run, its core hours and wall time (h) by the means of earlier frames (None where there are
    none), and how many are like none.
    """
    spent = {
        unit["id"]: (unit["s"], unit["cores"])
        for _, unit in workspace.run.units(workspace.run.key(fingerprint))
        if unit["s"]
    }
    seconds: dict[Composition, list[float]] = defaultdict(list)
    todo: Counter[Composition] = Counter()
    remaining = needed.copy()
    for key, frame in zip(surveyed.ids, workspace.frames(), strict=True):
        composition = tuple(sorted(Counter(frame.symbols).items()))
        if cost := spent.get(f"{key:016x}"):
            seconds[composition].append(cost[0] * cost[1])
        if key in remaining:
            remaining.discard(key)
            todo[composition] += 1
    core_seconds = sum(
        count * sum(seconds[kind]) / len(seconds[kind]) for kind, count in todo.items() if seconds.get(kind)
    )
    unknown = sum(count for kind, count in todo.items() if not seconds.get(kind))
    none = bool(todo) and unknown == todo.total()
    executor = workspace.executor
    return {
        "executor": f"{executor.label} ({executor.provider.type})",
        "tasks_at_once": executor.workers,
        "core_hours": None if none else round(core_seconds / 3600, 3),
        "wall_hours": None if none else round(core_seconds / executor.cores / executor.workers / 3600, 3),
        "without_estimate": unknown,
    }
