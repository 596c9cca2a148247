"""Which engine moves the walkers, and how many of them together: asked for, remembered, or measured."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psiflow_cli import registry
from psiflow_cli.errors import UsageError
from psiflow_cli.runtime.journal import records
from psiflow_cli.runtime.session import Session, Task

if TYPE_CHECKING:
    from psiflow_cli.messages import Dynamics
    from psiflow_cli.stages.core.workspace import Workspace
    from psiflow_cli.stages.sample.request import Sampling
    from psiflow_cli.stages.sample.walkers import Walker

USUAL = "ase"
"""The engine that needs nothing but what any model has."""
GAIN = 1.05
"""How much faster another engine must be, for its start-up to be worth it."""


MEASURED_ATOMS = 50_000
"""In the largest batch that is tried."""


@dataclass
class Plan:
    """An engine, and the largest number of walkers in a group."""

    engine: str
    batch: int
    now: int
    """How many a model is given at once: less than `batch` once memory was short."""
    steps: int | None = None
    """How far to go, where an earlier run of the same plan went further."""

    @property
    def module(self) -> str:
        """The engine's module."""
        return registry.load("samplers", self.engine).__name__

    def key(self, of: str) -> str:
        """What the units of the settings `of` are found by, moved in this way."""
        return f"{of}-{self.engine}-{self.batch}" + (f"-{self.steps}" if self.steps else "")


def able(settings: Dynamics) -> list[str]:
    """The engines that can do what is asked for. Raises UsageError with their reasons if there is none."""
    reasons = {name: registry.load("samplers", name).refuses(settings) for name in registry.names("samplers")}
    found = [name for name, reason in reasons.items() if not reason]
    if not found:
        raise UsageError(
            "no engine can do this: " + "; ".join(f"{name}: {reason}" for name, reason in reasons.items()),
            "leave out one of the options, or name another",
        )
    return found


def check(engine: str, settings: Dynamics, batch: int | None) -> None:
    """Raise UsageError if the engine asked for cannot do what else is asked for."""
    if engine == "auto":
        able(settings)
        return
    module = registry.load("samplers", engine)
    if reason := module.refuses(settings):
        raise UsageError(f"--engine {engine}: {reason}", "--engine auto chooses one that can")
    if batch and batch > 1 and not module.BATCHED:
        raise UsageError(f"--engine {engine} moves one walker after another", "leave --batch out")


def suited(sampling: Sampling, walkers: Sequence[Walker]) -> list[str]:
    """The engines among which to choose for these walkers. Raises UsageError if there is none."""
    starts = [walker.start for walker in walkers]
    settings: Dynamics = {
        **sampling.settings,
        "slab": any(any(start["pbc"]) and not all(start["pbc"]) for start in starts),
        "charged": any("charge" in start or "multiplicity" in start for start in starts),
    }
    check(sampling.engine, settings, sampling.batch)
    return [sampling.engine] if sampling.engine != "auto" else able(settings)


def known(sampling: Sampling, workspace: Workspace, names: list[str], of: str) -> Plan | None:
    """The plan that the options say, or that an earlier run of the same settings has written down."""
    found = None
    for record in _written(workspace, of):
        plan = Plan(record["engine"], record["batch"], record["now"])
        if plan.engine in names and sampling.batch in (None, plan.batch):
            found = plan
    if found is None and len(names) == 1:
        if not registry.load("samplers", names[0]).BATCHED:
            return Plan(names[0], 1, 1)
        if sampling.batch:
            return Plan(names[0], sampling.batch, sampling.batch)
    return found


def chosen(
    sampling: Sampling, workspace: Workspace, session: Session, walkers: list[Walker], names: list[str], of: str
) -> Plan:
    """The fastest plan by a short measurement on a worker, written down; one walker needs no measurement."""
    if len(walkers) == 1 and not sampling.batch and USUAL in names:
        return Plan(USUAL, 1, 1)
    together = sampling.walkers if sampling.settings["exchange"] else None
    paces = _measured(sampling, workspace, session, walkers, names, together)
    plan = fastest(paces, len(walkers), session.executor.workers, together) or Plan(names[0], 1, 1)
    record = {"kind": "plan", "of": of, "engine": plan.engine, "batch": plan.batch, "now": plan.now, "paces": paces}
    workspace.run.journal.append(record)
    return plan


def fastest(paces: list[dict[str, Any]], walkers: int, workers: int, together: int | None = None) -> Plan | None:
    """The plan that moves so many walkers by a step soonest; not another engine than the usual one for next to no gain.

    `paces` are {"engine", "batch", "seconds": for one step of the whole batch}; `together` is how many walkers a task
    has in any case. None where nothing could be measured.
    """
    best: Plan | None = None
    least = math.inf
    for pace in sorted(paces, key=lambda p: (p["engine"] != USUAL, p["batch"])):
        group = together or pace["batch"]
        rounds = math.ceil(math.ceil(walkers / group) / max(workers, 1))
        needs = rounds * math.ceil(group / pace["batch"]) * pace["seconds"]
        if best is None or needs * (1.0 if best.engine == pace["engine"] else GAIN) < least:
            best, least = Plan(pace["engine"], pace["batch"], pace["batch"]), needs
    return best


def note_batch(workspace: Workspace, of: str, plan: Plan, now: int) -> None:
    """Write down that fewer walkers fit into the memory than was thought, for the groups and runs to come."""
    if now < plan.now:
        plan.now = now
        record = {"kind": "plan", "of": of, "engine": plan.engine, "batch": plan.batch, "now": now}
        workspace.run.journal.append(record)


def _measured(
    sampling: Sampling,
    workspace: Workspace,
    session: Session,
    walkers: list[Walker],
    names: list[str],
    together: int | None,
) -> list[dict[str, Any]]:
    job = {
        **sampling.settings,
        "steps": sampling.steps,
        "walkers": _some(walkers),
        "model": sampling.weights,
    }
    share = math.ceil(len(walkers) / max(session.executor.workers, 1))
    modules = {name: registry.load("samplers", name).__name__ for name in names}
    payload = {
        "job": job,
        "engines": modules,
        "share": share,
        "batch": sampling.batch or together,
        "context": workspace.context(),
    }
    session.submit(Task("psiflow_cli.worker.md.benchmark:measure", payload))
    _, outcome = session.next()
    found: list[dict[str, Any]] = outcome.value if outcome.value else []
    return found


def _some(walkers: Sequence[Walker]) -> list[dict[str, Any]]:
    """As many of the walkers, alike in what is periodic, as could ever be measured together."""
    found, atoms = [], 0
    for walker in walkers:
        if walker.start["pbc"] == walkers[0].start["pbc"] and atoms < MEASURED_ATOMS:
            found.append(walker.message)
            atoms += len(walker.start["symbols"])
    return found


def _written(workspace: Workspace, of: str) -> Iterator[dict[str, Any]]:
    for _, record in records(workspace.run.journal_path):
        if record.get("kind") == "plan" and record.get("of") == of:
            yield record
