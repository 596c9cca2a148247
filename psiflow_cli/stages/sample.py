"""Molecular dynamics of many walkers: each moves by blocks of steps, and every finished block is kept."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psiflow_cli import extxyz
from psiflow_cli.bundle import Bundle
from psiflow_cli.console import Progress
from psiflow_cli.errors import BadData
from psiflow_cli.runtime.rundir import fingerprint
from psiflow_cli.runtime.session import Outcome, Session, Task
from psiflow_cli.seams import Wire
from psiflow_cli.site.resolve import Target
from psiflow_cli.stages.workspace import Job, Workspace
from psiflow_cli.worker.walker import TRAJECTORY

FIRST_BLOCK = 20
"""Steps of a walker's first block: enough to time one."""
BLOCK_S = 15.0
"""How long a block should take: what a killed run loses at most, of each walker that was moving."""


@dataclass(frozen=True)
class Sampling:
    """Which dynamics, with which model, from where."""

    job: Job
    model: Bundle
    worker: str
    """The engine's module."""
    family: str
    """The model family's module."""
    walkers: int
    """Per frame."""
    settings: Wire
    """ensemble, temperature, timestep, friction, steps, every, seed, limits: see the engine's `advance`."""

    @property
    def steps(self) -> int:
        return int(self.settings["steps"])


@dataclass
class Walker:
    """One walker's place and how far it is."""

    index: int
    folder: Path
    start: Wire
    step: int = 0
    bytes: int = 0
    """Length of the trajectory that the last checkpoint counts."""
    stopped: dict[str, Any] | None = None
    tries: int = 0
    losses: int = 0
    block: int = FIRST_BLOCK
    done: bool = field(default=False)


def starts(sampling: Sampling, space: Workspace) -> list[Wire]:
    """The start of every walker, checked: `walkers` of the first frame, then of the second, and so on."""
    wires = []
    for frame in space.frames():
        foreign = set(frame.symbols) - set(sampling.model.elements)
        if foreign and not sampling.model.is_foreign:
            raise BadData(
                f"{frame.where}: the model does not know {', '.join(sorted(foreign))}",
                f"{sampling.model.path} was trained on {', '.join(sampling.model.elements)}",
            )
        wires += [extxyz.wire(frame, ("charge", "multiplicity"))] * sampling.walkers
    return wires


def run(sampling: Sampling, space: Workspace) -> dict[str, Any]:
    """Move every walker to the end, or to where a limit stopped it; returns the summary."""
    wires = starts(sampling, space)
    of = space.run.key(
        fingerprint([sampling.settings, sampling.model.fingerprint, [w["id"] for w in wires], sampling.worker])
    )
    base = space.job.folder / "walkers" / of
    walkers = [Walker(i, base / f"{i:05d}", wire) for i, wire in enumerate(wires)]
    known: dict[int, dict[str, Any]] = {}
    for _, record in space.run.units(of):
        known[int(record["id"].rpartition("-")[2])] = record
    for walker in walkers:
        if unit := known.get(walker.index):
            walker.step, walker.bytes, walker.stopped = unit["at"], unit["bytes"], unit.get("stopped")
            walker.done = walker.step >= sampling.steps or walker.stopped is not None
    space.run.begin(len(walkers) * sampling.steps)
    with space.run.guard_end():
        if not all(w.done for w in walkers):
            _move(sampling, space, walkers, of)
        frames = space.publish(_trajectory(walkers))
    stopped = [w for w in walkers if w.stopped]
    return {
        "total": len(walkers),
        "failed": len(stopped),
        "failures": dict(Counter(w.stopped["kind"] for w in stopped if w.stopped)),
        "failed_hint": "; ".join(f"walker {w.index}: {w.stopped['reason']}" for w in stopped[:3] if w.stopped),
        "frames": frames,
        "steps": sampling.steps,
        "output": sampling.job.output,
        "retry": any(w.stopped["kind"] == "worker-lost" for w in stopped if w.stopped),
    }


def _move(sampling: Sampling, space: Workspace, walkers: list[Walker], of: str) -> None:
    """Keep every worker busy with the walkers that are furthest behind."""
    waiting = [w for w in walkers if not w.done]
    total = len(walkers) * sampling.steps
    with (
        Progress(total, "MD steps", sum(w.step for w in walkers)) as progress,
        space.session(progress.tick) as session,
    ):
        while waiting or session.pending:
            while waiting and session.room():
                waiting.sort(key=lambda w: (w.step, w.index))
                _submit(sampling, space, session, waiting.pop(0))
            task, outcome = session.next()
            walker: Walker = task.note
            before = walker.step
            if outcome.lost:
                space.run.note_lost([f"walker-{walker.index}"], outcome.lost)
                walker.losses = task.losses
            _learn(sampling, session.target, walker, outcome)
            if walker.step != before or walker.done:
                _journal(space, walker, outcome, of, session)
                progress.update(walker.step - before, int(walker.stopped is not None))
            if not walker.done:
                waiting.append(walker)


def _submit(sampling: Sampling, space: Workspace, session: Session, walker: Walker) -> None:
    walker.folder.mkdir(parents=True, exist_ok=True)
    job = {
        **sampling.settings,
        "folder": str(walker.folder.absolute()),
        "walker": walker.index,
        "start": walker.start,
        "model": {
            "family": sampling.family,
            "members": sampling.model.members,
            "weights": sampling.model.weights,
        },
        "block": walker.block,
    }
    payload = {"job": job, "context": space.context()}
    session.submit(Task(f"{sampling.worker}:advance", payload, note=walker, losses=walker.losses))


def _learn(sampling: Sampling, target: Target, walker: Walker, outcome: Outcome) -> None:
    """Take over what a block said; a walker whose worker is lost, or whose code fails, is tried again."""
    if outcome.lost or outcome.error:
        walker.tries += not outcome.lost or outcome.blame
        kind = "worker-lost" if outcome.lost else "crashed"
        if walker.tries > target.retries(kind):
            walker.stopped = {"kind": kind, "reason": outcome.lost or outcome.error, "step": walker.step}
            walker.done = True
        return
    value = outcome.value
    moved = value["step"] - walker.step
    walker.tries = walker.losses = 0
    walker.step, walker.bytes, walker.stopped = value["step"], value["bytes"], value["stopped"]
    walker.done = walker.step >= sampling.steps or walker.stopped is not None
    if moved > 0:
        fits = int(BLOCK_S * moved / max(outcome.seconds, 1e-3))
        walker.block = max(1, min(fits, 10 * walker.block))


def _journal(space: Workspace, walker: Walker, outcome: Outcome, of: str, session: Session) -> None:
    unit = {"kind": "unit", "id": f"walker-{walker.index}", "of": of, "ok": walker.stopped is None}
    unit.update(t=round(time.time(), 3), s=round(outcome.seconds, 3), cores=session.target.cores)
    unit.update(at=walker.step, bytes=walker.bytes)
    if walker.stopped:
        unit.update(failure=walker.stopped["kind"], stopped=walker.stopped)
    space.run.journal.append(unit)


def _trajectory(walkers: list[Walker]) -> Iterator[str]:
    """Every frame that a checkpoint counts, walker after walker."""
    for walker in walkers:
        if walker.bytes:
            with (walker.folder / TRAJECTORY).open("rb") as stream:
                while stream.tell() < walker.bytes:
                    count = stream.readline()
                    yield b"".join([count, *(stream.readline() for _ in range(int(count) + 1))]).decode()
