"""Which engine moves the walkers, and how many of them together: asked for, remembered, or measured."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from psiflow_cli import registry
from psiflow_cli.console import note
from psiflow_cli.errors import UsageError, counted
from psiflow_cli.runtime.journal import records
from psiflow_cli.runtime.session import Session
from psiflow_cli.runtime.task import Task
from psiflow_cli.stages.core import resubmission

if TYPE_CHECKING:
    from psiflow_cli.messages import Dynamics, EngineTimes, SamplingPlan, StepTime, WalkerStart
    from psiflow_cli.stages.core.workspace import Workspace
    from psiflow_cli.stages.sample.request import Sampling
    from psiflow_cli.stages.sample.walkers import Walker

USUAL = "ase"  # the engine that needs nothing but what any model has
GAIN = 1.05  # how much faster another engine must be, for its start-up to be worth it
MEASURED_ATOMS = 50_000  # in the largest batch that is tried


@dataclass
class Plan:
    """An engine, and the largest number of walkers in a group."""

    engine: str
    batch: int
    now: int  # how many a model is given at once: less than `batch` once memory was short
    steps: int | None = None  # how far to go, where an earlier run of the same plan went further

    @property
    def module(self) -> str:
        """The engine's module."""
        return registry.load("samplers", self.engine).__name__

    def key(self, fingerprint: str) -> str:
        """What the units of these settings are found by, moved in this way."""
        return f"{fingerprint}-{self.engine}-{self.batch}" + (f"-{self.steps}" if self.steps else "")


def capable_engines(dynamics: Dynamics) -> list[str]:
    """The engines that can do what is asked for. Raises UsageError with their reasons if there is none."""
    reasons = {name: registry.load("samplers", name).refuses(dynamics) for name in registry.names("samplers")}
    names = [name for name, reason in reasons.items() if not reason]
    if not names:
        problem = "no engine can do this: " + "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        raise UsageError(problem, "leave out one of the options, or choose another value")
    return names


def check(engine: str, dynamics: Dynamics, batch: int | None) -> None:
    """Raise UsageError if the engine asked for cannot do what else is asked for."""
    if engine == "auto":
        capable_engines(dynamics)
        return
    module = registry.load("samplers", engine)
    if reason := module.refuses(dynamics):
        raise UsageError(f"--engine {engine}: {reason}", "--engine auto chooses one that can")
    if batch and batch > 1 and not module.BATCHED:
        raise UsageError(f"--engine {engine} moves one walker at a time", "leave out --batch")


def engines_for(sampling: Sampling) -> list[str]:
    """The engines among which to choose. Raises UsageError if there is none."""
    check(sampling.engine, sampling.dynamics, sampling.batch)
    return [sampling.engine] if sampling.engine != "auto" else capable_engines(sampling.dynamics)


def needs(sampling: Sampling, names: list[str]) -> dict[str, str]:
    """The modules without which the walkers cannot be moved, each with what needs it."""
    asked = "--engine" if sampling.engine != "auto" else "the engine"
    modules = dict.fromkeys(registry.load("samplers", names[0]).REQUIRES, f"{asked} {names[0]}")
    return modules if len(names) == 1 else {}


def remembered_plan(sampling: Sampling, workspace: Workspace, names: list[str], fingerprint: str) -> Plan | None:
    """The plan that the options say, or that an earlier run of the same settings has written down."""
    last = None
    for record in _recorded_plans(workspace, fingerprint):
        plan = Plan(record["engine"], record["batch"], record["now"])
        if plan.engine in names and sampling.batch in (None, plan.batch):
            last = plan
    if last is None and len(names) == 1:
        if not registry.load("samplers", names[0]).BATCHED:
            return Plan(names[0], 1, 1)
        if sampling.batch:
            return Plan(names[0], sampling.batch, sampling.batch)
    return last


def measured_plan(
    sampling: Sampling, workspace: Workspace, session: Session, walkers: list[Walker], names: list[str],
    fingerprint: str,
) -> Plan:  # fmt: skip
    """The fastest plan by a short measurement on a worker, written down; one walker on a CPU needs no measurement."""
    on_cpu = workspace.context().get("device", "cpu") == "cpu"
    if len(walkers) == 1 and not sampling.batch and USUAL in names and on_cpu:
        return Plan(USUAL, 1, 1)
    together = sampling.walkers if sampling.dynamics["exchange"] else None
    times = _measure(sampling, workspace, session, walkers, names)
    plan = fastest(times, len(walkers), session.executor.workers, together) or Plan(names[0], 1, 1)
    workspace.run.journal.append({**_plan_record(plan, fingerprint), "paces": times})
    return plan


def fastest(times: list[StepTime], walkers: int, workers: int, together: int | None = None) -> Plan | None:
    """The plan that moves so many walkers by a step soonest; not another engine than the usual one for next to no gain.

    `together` is how many walkers a task has in any case. None where nothing could be measured.
    """
    best: Plan | None = None
    least = math.inf
    for time in sorted(times, key=lambda t: (t["engine"] != USUAL, t["batch"])):
        group = together or time["batch"]
        rounds = math.ceil(math.ceil(walkers / group) / max(workers, 1))
        needs = rounds * math.ceil(group / time["batch"]) * time["seconds"]
        if best is None or needs * (1.0 if best.engine == time["engine"] else GAIN) < least:
            best, least = Plan(time["engine"], time["batch"], time["batch"]), needs
    return best


def note_batch(workspace: Workspace, fingerprint: str, plan: Plan, now: int) -> None:
    """Write down that fewer walkers fit into the memory than was thought, for the groups and runs to come."""
    if now < plan.now:
        note(f"memory is short: the model gets at most {now} of {plan.now} walkers at once")
        plan.now = now
        workspace.run.journal.append(_plan_record(plan, fingerprint))


def _plan_record(plan: Plan, fingerprint: str) -> SamplingPlan:
    return {"kind": "plan", "of": fingerprint, "engine": plan.engine, "batch": plan.batch, "now": plan.now}


def _measure(
    sampling: Sampling, workspace: Workspace, session: Session, walkers: list[Walker], names: list[str]
) -> list[StepTime]:
    """What a worker has measured; [] where it could not, or was lost too often. A line says what was left out."""
    job = {
        **sampling.dynamics,
        "steps": sampling.steps,
        "walkers": _measured_walkers(walkers),
        "model": sampling.weights,
    }
    together = sampling.walkers if sampling.dynamics["exchange"] else None
    payload = {
        "job": job,
        "engines": {name: registry.load("samplers", name).__name__ for name in names},
        "share": math.ceil(len(walkers) / max(session.executor.workers, 1)),
        "batch": sampling.batch or together,
        "context": workspace.context(),
    }
    outcome = resubmission.final_outcome(Task("psiflow_cli.worker.md.benchmark:measure", payload), session)
    if not outcome.value:
        note(f"using engine {names[0]}: the engines could not be compared: {outcome.lost or outcome.error}")
        return []
    timed = cast("EngineTimes", outcome.value)
    for name, why in timed["left_out"].items():
        most = max((each["batch"] for each in timed["times"] if each["engine"] == name), default=0)
        larger = f" with more than {counted(most, 'walker')} at once" if most else ""
        note(f"engine {name} is not used{larger}: {why}")
    return timed["times"]


def _measured_walkers(walkers: Sequence[Walker]) -> list[WalkerStart]:
    """As many of the walkers, alike in what is periodic, as could ever be measured together."""
    messages, atoms = [], 0
    for walker in walkers:
        if walker.start["pbc"] == walkers[0].start["pbc"] and atoms < MEASURED_ATOMS:
            messages.append(walker.message)
            atoms += len(walker.start["symbols"])
    return messages


def _recorded_plans(workspace: Workspace, fingerprint: str) -> Iterator[SamplingPlan]:
    for _, record in records(workspace.run.journal_path):
        if record.get("kind") == "plan" and record.get("of") == fingerprint:
            yield cast("SamplingPlan", record)
