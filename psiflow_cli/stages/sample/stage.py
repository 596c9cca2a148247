"""Molecular dynamics of many walkers: they move in groups, by blocks of steps, and every finished block is kept."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING

from psiflow_cli.console import Progress, detail
from psiflow_cli.errors import counted
from psiflow_cli.runtime import journal
from psiflow_cli.runtime.request import fingerprint as fingerprint_of
from psiflow_cli.runtime.session import Session
from psiflow_cli.runtime.task import Outcome, Task
from psiflow_cli.site import environments
from psiflow_cli.site.executor import ResolvedExecutor
from psiflow_cli.stages.core.workspace import Workspace
from psiflow_cli.stages.sample import engines, outputs, walkers
from psiflow_cli.stages.sample.engines import Plan
from psiflow_cli.stages.sample.kernels import Kernels
from psiflow_cli.stages.sample.plumed import nearest, trial
from psiflow_cli.stages.sample.request import Sampling
from psiflow_cli.stages.sample.trajectories import Recorded
from psiflow_cli.stages.sample.walkers import Walker, WalkerGroup
from psiflow_cli.worker.failures import MACHINE_FAILURES
from psiflow_cli.worker.md.checkpoint import plumed_folder

if TYPE_CHECKING:
    from psiflow_cli.messages import Context, Stop, Summary

BLOCK_S = 15.0  # how long a block should take: what a killed run loses at most, of each walker that was moving


def starts(sampling: Sampling, workspace: Workspace) -> tuple[list[Walker], list[str]]:
    """The walkers, and the engines that can move them. Raises BadConfig where workers lack what they need."""
    all_walkers = walkers.starts(sampling, workspace)
    names = engines.engines_for(sampling)
    environments.require(workspace.executor, engines.needs(sampling, names))
    if sampling.nearest and all_walkers:
        nearest.place(sampling, all_walkers, workspace.executor)
    if sampling.plumed and all_walkers:
        trial.check(sampling.plumed, sampling.dynamics, [walker.message for walker in all_walkers], workspace.executor)
    return all_walkers, names


def run(sampling: Sampling, workspace: Workspace) -> Summary:
    """Move every walker to the end, or to where a limit stopped it."""
    all_walkers, names = starts(sampling, workspace)
    decisive = [sampling.dynamics, sampling.model.fingerprint, [w.message for w in all_walkers]]
    fingerprint = workspace.run.key(fingerprint_of(decisive))
    workspace.run.begin(len(all_walkers) * sampling.steps)
    with workspace.run.guard_end(), ExitStack() as stack:
        session: Session | None = None
        remembered = engines.remembered_plan(sampling, workspace, names, fingerprint)
        groups = _groups(sampling, workspace, remembered, all_walkers, fingerprint) if remembered else []
        plan = remembered or Plan(engines.USUAL, 1, 1)
        if not groups or not all(group.done for group in groups):
            moved = sum(walker.step for walker in all_walkers)
            progress = stack.enter_context(Progress(len(all_walkers) * sampling.steps, "MD steps", moved))
            session = stack.enter_context(workspace.watched_session(progress))
            if remembered is None:
                plan = engines.measured_plan(sampling, workspace, session, all_walkers, names, fingerprint)
                groups = _groups(sampling, workspace, plan, all_walkers, fingerprint)
            detail(
                f"engine {plan.engine}, {counted(plan.batch, 'walker')} together: {_why(sampling, names, remembered)}"
            )
            _move(sampling, workspace, session, plan, groups, fingerprint, progress)
        recorded = [Recorded(w, group.folder, sampling.scales) for group in groups for w in group.members]
        recorded.sort(key=lambda path: path.walker.number)
        published = outputs.publish(sampling, workspace, recorded, session)
    stops = {walker.number: walker.stopped for walker in all_walkers if walker.stopped}
    return {
        "total": len(all_walkers), "failed": len(stops),
        "failures": dict(Counter(stop["kind"] for stop in stops.values())),
        "failed_hint": "; ".join(f"walker {number}: {stop['reason']}" for number, stop in list(stops.items())[:3]),
        **published, "steps": sampling.steps, "engine": plan.engine, "batch": plan.batch,
        "output": workspace.job.output, "retry": any(stop["kind"] == "worker-lost" for stop in stops.values()),
    }  # fmt: skip


def _why(sampling: Sampling, names: list[str], remembered: Plan | None) -> str:
    """Why the walkers are moved in this way."""
    if sampling.engine != "auto":
        return "set by --engine"
    if len(names) == 1:
        return "the only one that can do this"
    return "as in an earlier run" if remembered else f"the fastest of {', '.join(names)}, or there is one walker"


def _groups(
    sampling: Sampling, workspace: Workspace, plan: Plan, all_walkers: list[Walker], fingerprint: str
) -> list[WalkerGroup]:
    """The walkers in the groups of the plan, as far as earlier runs have moved them."""
    units = {record["id"]: record for _, record in workspace.run.units(plan.key(fingerprint))}
    if any(record["at"] > sampling.steps for record in units.values()):
        plan.steps = sampling.steps  # an earlier run went further, and its checkpoints cannot go back
        units = {record["id"]: record for _, record in workspace.run.units(plan.key(fingerprint))}
    base = workspace.job.folder / "walkers" / plan.key(fingerprint)
    grouped = walkers.grouped(sampling, all_walkers, plan.batch)
    groups = [WalkerGroup(base / f"{members[0].number:05d}", members, plan.now) for members in grouped]
    shared = {str(w.number): str(plumed_folder(g.folder, w.number).absolute()) for g in groups for w in g.members}
    for group in groups:
        group.shared_bias = shared if sampling.dynamics.get("share_bias") else {}
        for walker in group.members:
            if unit := units.get(f"walker-{walker.number}"):
                walker.step, walker.bytes = unit["at"], unit["bytes"]
                stopped: Stop | None = unit.get("stopped")
                walker.stopped = None if stopped and stopped["kind"] in MACHINE_FAILURES else stopped
        group.done = all(w.stopped or w.step >= sampling.steps for w in group.members)
    return groups


def _move(
    sampling: Sampling, workspace: Workspace, session: Session, plan: Plan, groups: list[WalkerGroup],
    fingerprint: str, progress: Progress,
) -> None:  # fmt: skip
    """Keep every worker busy with the groups that are furthest behind."""
    waiting = [group for group in groups if not group.done]
    kernels = Kernels(workspace, fingerprint)
    while waiting or session.pending:
        while waiting and session.room():
            waiting.sort(key=lambda g: (g.step, g.members[0].number))
            _submit(sampling, workspace, session, plan, waiting.pop(0))
        task, outcome = session.next()
        group: WalkerGroup = task.note
        before = [(w.step, w.stopped) for w in group.members]
        if outcome.lost:
            workspace.run.note_lost([f"walker-{w.number}" for w in group.members if not w.stopped], outcome.lost)
            group.losses = task.losses
        _take_over(sampling, session.executor, group, outcome)
        kernels.learn((outcome.value or {}).get("kernels"))
        engines.note_batch(workspace, fingerprint, plan, group.batch)
        for walker, (step, stopped) in zip(group.members, before, strict=True):
            if walker.step != step or walker.stopped != stopped:
                seconds = outcome.seconds / len(group.members)
                _write_down(workspace, walker, seconds, plan.key(fingerprint), session.executor.cores)
                progress.update(walker.step - step, int(walker.stopped is not None), outcome.seconds)
        if not group.done:
            waiting.append(group)


def _submit(sampling: Sampling, workspace: Workspace, session: Session, plan: Plan, group: WalkerGroup) -> None:
    group.folder.mkdir(parents=True, exist_ok=True)
    context: Context = {**workspace.context(), "calls": sampling.steps - group.step}
    payload = {"job": group.job(sampling), "context": context}
    session.submit(Task(f"{plan.module}:advance", payload, note=group, losses=group.losses))


def _take_over(sampling: Sampling, executor: ResolvedExecutor, group: WalkerGroup, outcome: Outcome) -> None:
    """Take over what a block reports; a group whose worker is lost, or whose code fails, is tried again."""
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
    group.tries, group.losses = 0, []
    group.batch = outcome.value.get("batch", group.batch)
    for walker, report in zip(group.members, outcome.value["walkers"], strict=True):
        walker.step, walker.bytes, walker.stopped = report["step"], report["bytes"], report["stopped"]
    group.done = all(w.stopped or w.step >= sampling.steps for w in group.members)
    if (moved := group.step - before) > 0:
        fits = int(BLOCK_S * moved / max(outcome.seconds, 1e-3))
        group.block = max(1, min(fits, 10 * group.block))


def _write_down(workspace: Workspace, walker: Walker, seconds: float, fingerprint: str, cores: int) -> None:
    """Journal how far a walker is."""
    unit = journal.unit(
        f"walker-{walker.number}", fingerprint, walker.stopped is None, round(seconds, 3), cores,
        at=walker.step, bytes=walker.bytes,
    )  # fmt: skip
    if walker.stopped:
        unit["failure"], unit["stopped"] = walker.stopped["kind"], walker.stopped
    workspace.run.journal.append(unit)
