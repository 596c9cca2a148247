"""Molecular dynamics of many walkers: they move in groups, by blocks of steps, and every finished block is kept."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psiflow_cli.console import Progress
from psiflow_cli.messages import Wire
from psiflow_cli.runtime.request import fingerprint
from psiflow_cli.runtime.session import Outcome, Session, Task
from psiflow_cli.site.executor import ResolvedExecutor
from psiflow_cli.stages.core.workspace import Workspace
from psiflow_cli.stages.sample import engines, outputs, walkers
from psiflow_cli.stages.sample.engines import Plan
from psiflow_cli.stages.sample.request import Sampling
from psiflow_cli.stages.sample.trajectories import Recorded
from psiflow_cli.stages.sample.walkers import Walker
from psiflow_cli.worker.failures import MACHINE_FAILURES

FIRST_BLOCK = 20
"""Steps of a group's first block: enough to time one."""
BLOCK_S = 15.0
"""How long a block should take: what a killed run loses at most, of each walker that was moving."""


@dataclass
class Group:
    """Walkers that move together, in one task."""

    folder: Path
    members: list[Walker]
    batch: int
    """How many of them a model is given at once."""
    tries: int = 0
    losses: int = 0
    block: int = FIRST_BLOCK
    done: bool = field(default=False)

    @property
    def step(self) -> int:
        """Where the walkers that go on are."""
        return min((w.step for w in self.members if not w.stopped), default=0)


def run(sampling: Sampling, workspace: Workspace) -> dict[str, Any]:
    """Move every walker to the end, or to where a limit stopped it; returns the summary."""
    all_walkers = walkers.starts(sampling, workspace)
    names = engines.suited(sampling, all_walkers)
    of = workspace.run.key(
        fingerprint([sampling.settings, sampling.model.fingerprint, [w.message for w in all_walkers]])
    )
    workspace.run.begin(len(all_walkers) * sampling.steps)
    with workspace.run.guard_end(), ExitStack() as stack:
        session: Session | None = None
        remembered = engines.known(sampling, workspace, names, of)
        groups = _groups(sampling, workspace, remembered, all_walkers, of) if remembered else []
        plan = remembered or Plan(engines.USUAL, 1, 1)
        if not groups or not all(group.done for group in groups):
            moved = sum(walker.step for walker in all_walkers)
            progress = stack.enter_context(Progress(len(all_walkers) * sampling.steps, "MD steps", moved))
            session = stack.enter_context(workspace.session(progress.tick))
            if remembered is None:
                plan = engines.chosen(sampling, workspace, session, all_walkers, names, of)
                groups = _groups(sampling, workspace, plan, all_walkers, of)
            _move(sampling, workspace, session, plan, groups, of, progress)
        made = _outputs(sampling, workspace, groups, session)
    stopped = [w for w in all_walkers if w.stopped]
    return {
        "total": len(all_walkers),
        "failed": len(stopped),
        "failures": dict(Counter(w.stopped["kind"] for w in stopped if w.stopped)),
        "failed_hint": "; ".join(f"walker {w.number}: {w.stopped['reason']}" for w in stopped[:3] if w.stopped),
        **made,
        "steps": sampling.steps,
        "engine": plan.engine,
        "batch": plan.batch,
        "output": sampling.job.output,
        "retry": any(w.stopped["kind"] == "worker-lost" for w in stopped if w.stopped),
    }


def _groups(sampling: Sampling, workspace: Workspace, plan: Plan, all_walkers: list[Walker], of: str) -> list[Group]:
    """The walkers in the groups of the plan, as far as earlier runs have moved them."""
    known = {record["id"]: record for _, record in workspace.run.units(plan.key(of))}
    if any(record["at"] > sampling.steps for record in known.values()):
        plan.steps = sampling.steps  # an earlier run went further, and its checkpoints cannot go back
        known = {record["id"]: record for _, record in workspace.run.units(plan.key(of))}
    base = workspace.job.folder / "walkers" / plan.key(of)
    groups = []
    for members in walkers.grouped(sampling, all_walkers, plan.batch):
        groups.append(Group(base / f"{members[0].number:05d}", members, plan.now))
    for group in groups:
        for walker in group.members:
            if unit := known.get(f"walker-{walker.number}"):
                walker.step, walker.bytes = unit["at"], unit["bytes"]
                stopped = unit.get("stopped")
                walker.stopped = None if stopped and stopped["kind"] in MACHINE_FAILURES else stopped
        group.done = all(w.stopped or w.step >= sampling.steps for w in group.members)
    return groups


def _move(
    sampling: Sampling,
    workspace: Workspace,
    session: Session,
    plan: Plan,
    groups: list[Group],
    of: str,
    progress: Progress,
) -> None:
    """Keep every worker busy with the groups that are furthest behind."""
    waiting = [group for group in groups if not group.done]
    while waiting or session.pending:
        while waiting and session.room():
            waiting.sort(key=lambda g: (g.step, g.members[0].number))
            _submit(sampling, workspace, session, plan, waiting.pop(0))
        task, outcome = session.next()
        group: Group = task.note
        before = [(w.step, w.stopped) for w in group.members]
        if outcome.lost:
            workspace.run.note_lost([f"walker-{w.number}" for w in group.members if not w.stopped], outcome.lost)
            group.losses = task.losses
        _learn(sampling, session.executor, group, outcome)
        engines.note_batch(workspace, of, plan, group.batch)
        for walker, (step, stopped) in zip(group.members, before, strict=True):
            if walker.step != step or walker.stopped != stopped:
                _journal(workspace, walker, outcome.seconds / len(group.members), plan.key(of), session)
                progress.update(walker.step - step, int(walker.stopped is not None))
        if not group.done:
            waiting.append(group)


def _submit(sampling: Sampling, workspace: Workspace, session: Session, plan: Plan, group: Group) -> None:
    group.folder.mkdir(parents=True, exist_ok=True)
    payload = {"job": _job(sampling, group), "context": workspace.context()}
    session.submit(Task(f"{plan.module}:advance", payload, note=group, losses=group.losses))


def _job(sampling: Sampling, group: Group) -> Wire:
    return {
        **sampling.settings,
        "steps": sampling.steps,
        "folder": str(group.folder.absolute()),
        "walkers": [walker.message for walker in group.members],
        "model": sampling.weights,
        "block": group.block,
        "batch": group.batch,
    }


def _learn(sampling: Sampling, executor: ResolvedExecutor, group: Group, outcome: Outcome) -> None:
    """Take over what a block said; a group whose worker is lost, or whose code fails, is tried again."""
    if outcome.lost or outcome.error:
        group.tries += not outcome.lost or outcome.blame
        kind = "worker-lost" if outcome.lost else "crashed"
        if outcome.blame and group.batch > 1:
            group.batch = (group.batch + 1) // 2  # memory may be why
        if group.tries > executor.retries(kind):
            for walker in group.members:
                if not walker.stopped and walker.step < sampling.steps:
                    walker.stopped = {"kind": kind, "reason": outcome.lost or outcome.error, "step": walker.step}
            group.done = True
        return
    before = group.step
    group.tries = group.losses = 0
    group.batch = outcome.value.get("batch", group.batch)
    for walker, said in zip(group.members, outcome.value["walkers"], strict=True):
        walker.step, walker.bytes, walker.stopped = said["step"], said["bytes"], said["stopped"]
    group.done = all(w.stopped or w.step >= sampling.steps for w in group.members)
    if (moved := group.step - before) > 0:
        fits = int(BLOCK_S * moved / max(outcome.seconds, 1e-3))
        group.block = max(1, min(fits, 10 * group.block))


def _journal(workspace: Workspace, walker: Walker, seconds: float, of: str, session: Session) -> None:
    unit = {"kind": "unit", "id": f"walker-{walker.number}", "of": of, "ok": walker.stopped is None}
    unit.update(t=round(time.time(), 3), s=round(seconds, 3), cores=session.executor.cores)
    unit.update(at=walker.step, bytes=walker.bytes)
    if walker.stopped:
        unit.update(failure=walker.stopped["kind"], stopped=walker.stopped)
    workspace.run.journal.append(unit)


def _outputs(sampling: Sampling, workspace: Workspace, groups: list[Group], session: Session | None) -> dict[str, Any]:
    """Every frame that a checkpoint counts, walker after walker, and what follows from them."""
    recorded = [Recorded(walker, group.folder) for group in groups for walker in group.members]
    return outputs.make(sampling, workspace, sorted(recorded, key=lambda each: each.walker.number), session)
