"""Fit one model, or several with different seeds, and make a bundle that appears whole or not at all."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psiflow_cli import __version__, bundle, extxyz, toml
from psiflow_cli.console import Progress
from psiflow_cli.errors import BadConfig, BadData, PsiflowError, UsageError
from psiflow_cli.runtime.rundir import fingerprint
from psiflow_cli.runtime.session import Outcome, Session, Task
from psiflow_cli.seams import Model, Wire
from psiflow_cli.stages import dataset
from psiflow_cli.stages.workspace import Job, Workspace


@dataclass(frozen=True)
class Training:
    """What to fit, to what, and how."""

    job: Job
    family: str
    module: Model
    worker: str
    config: dict[str, Any]
    config_file: str
    """Where `config` was read from, or empty."""
    options: dict[str, str]
    valid: str
    """A file, or a share of the data."""
    e0s: dataset.E0S | str | None
    keys: dict[str, str] | None
    members: int
    seed: int
    init: bundle.Bundle | None = None
    """A model to start from, of the same family."""

    @property
    def valid_file(self) -> str | None:
        return self.valid if self.job.other_inputs else None


@dataclass(frozen=True)
class Prepared:
    """The data and the trainer's configuration, checked, before anything is submitted."""

    data: dataset.Dataset
    config: Wire
    e0s: dataset.E0S | str


def prepare(training: Training, space: Workspace) -> Prepared:
    """Read and check all data, and make the trainer's configuration."""
    share = 0.0 if training.valid_file else float(training.valid)
    data = dataset.read(space.frames(), _valid(training), share, training.seed, training.keys)
    for part, purpose in (("train", "train"), ("valid", "validate")):
        if not data.count(part):
            raise BadData(
                f"{training.job.frames[0]}: no frames to {purpose} on", "give more data, or --valid FILE|SHARE"
            )
    if training.init and data.elements - set(training.init.elements):
        unknown = ", ".join(sorted(data.elements - set(training.init.elements)))
        raise BadData(f"{training.init.path}: cannot be the start, it does not know {unknown}", "train without --init")
    e0s = dataset.atomic_energies(data, training.e0s)
    summary = {
        "elements": sorted(data.elements),
        "frames": data.count("train"),
        "valid_frames": data.count("valid"),
        "stress": data.with_stress == data.count("train") + data.count("valid"),
        "periodic": data.periodic > 0,
        "e0s": e0s,
    }
    context = training.job.target.context if training.job.target else {}
    if context.get("dtype"):
        summary["dtype"] = context["dtype"]
    return Prepared(data, _plan(training, summary), e0s)


def _plan(training: Training, summary: Wire) -> Wire:
    """The trainer's configuration; a mistake in the user's file is said to be there."""
    try:
        return training.module.plan(training.config, dict(training.options), summary)
    except UsageError as error:
        key = error.message.split()[0].rstrip(":")
        if key in training.config and key not in training.options:
            raise BadConfig(f"{training.config_file}: {error.message}", error.hint) from None
        raise


def _valid(training: Training) -> Iterator[extxyz.Frame] | None:
    return extxyz.read(Path(training.valid_file)) if training.valid_file else None


def run(training: Training, space: Workspace) -> dict[str, Any]:
    """Train every member and make the bundle; returns the summary."""
    prepared = prepare(training, space)
    epochs = training.module.epochs(prepared.config)
    space.run.begin(epochs * training.members)
    with space.run.guard_end():
        files = _write_data(training, space, prepared)
        init = training.init.fingerprint if training.init else None
        of = space.run.key(fingerprint([prepared.config, files["sha256"], training.seed, training.members, init]))
        members = [space.job.folder / "work" / of / f"member-{i}" for i in range(training.members)]
        with _Watch(training, space, members, of, epochs) as watch, space.session(watch.tick) as session:
            watch.session = session
            trained = _train(training, session, space, prepared, files, members)
            watch.tick(now=True)
            facts = _facts(training, prepared, trained, files)
            metrics = _make_bundle(training, space, session, facts, trained, members)
    return {"total": training.members, "failed": 0, "output": training.job.output, "epochs": epochs, "metrics": metrics}


def _write_data(training: Training, space: Workspace, prepared: Prepared) -> dict[str, str]:
    """The trainer's own files, in one spelling of the labels."""
    files: dict[str, str] = {}
    digest = hashlib.sha256()
    for part in ("train", "valid"):
        frames = itertools.chain(space.frames(), _valid(training) or ())
        path = (space.job.folder / f"{part}.xyz").absolute()
        extxyz.write(path, dataset.render(frames, prepared.data.parts, part, training.keys))
        digest.update(path.read_bytes())
        files[part] = str(path)
    return {**files, "sha256": digest.hexdigest()}


def _train(
    training: Training,
    session: Session,
    space: Workspace,
    prepared: Prepared,
    files: dict[str, str],
    members: list[Path],
) -> list[Wire]:
    """Each member as a task of its own; returns what the trainer says of each, in order.

    One that is lost with its worker goes on from its last checkpoint.
    """
    trained: dict[int, Wire] = {}
    waiting = [_Member(index, folder) for index, folder in enumerate(members)]
    while len(trained) < len(members):
        while waiting and session.room():
            member = waiting.pop(0)
            session.submit(_task(training, space, prepared, files, member))
        task, outcome = session.next()
        member = task.note
        if outcome.lost:
            space.run.note_lost([f"member-{member.index}"], outcome.lost)
            if member.goes_on(training.module, task, outcome, session):
                waiting.append(member)
                continue
        if outcome.lost or outcome.error:
            raise PsiflowError(
                f"training of member {member.index} ended: {outcome.lost or outcome.error}",
                f"its log: {member.folder}; run the same command again to go on from its last checkpoint",
                69 if outcome.lost else 70,
            )
        trained[member.index] = outcome.value
    return [trained[i] for i in range(len(members))]


@dataclass
class _Member:
    """One training, and how often in a row its worker was lost before it finished an epoch."""

    index: int
    folder: Path
    tries: int = 0
    losses: int = 0
    epochs: int = 0

    def goes_on(self, module: Model, task: Task, outcome: Outcome, session: Session) -> bool:
        """Whether a lost training is to be tried again; every finished epoch starts the count anew."""
        epochs = len(module.progress(self.folder))
        if epochs > self.epochs:
            self.epochs, self.tries, task.losses = epochs, 0, 1
        self.losses = task.losses
        self.tries += outcome.blame
        return self.tries <= session.target.retries("worker-lost")


def _task(training: Training, space: Workspace, prepared: Prepared, files: dict[str, str], member: _Member) -> Task:
    member.folder.mkdir(parents=True, exist_ok=True)
    job = {
        "workdir": str(member.folder.absolute()),
        "train": files["train"],
        "valid": files["valid"],
        "config": prepared.config,
        "seed": training.seed + member.index,
        **({"init": training.init.members[member.index % len(training.init.members)]} if training.init else {}),
    }
    payload = {"job": job, "context": space.context()}
    return Task(f"{training.worker}:train", payload, note=member, losses=member.losses)


class _Watch:
    """Follows the trainers' own files: finished epochs go into the journal and onto the progress bar."""

    EVERY_S = 2.0

    def __init__(self, training: Training, space: Workspace, members: list[Path], of: str, epochs: int) -> None:
        self._module, self._journal, self._of = training.module, space.run.journal, of
        self._members = members
        self._seen = [len(self._module.progress(m)) for m in members]
        self._progress = Progress(epochs * len(members), "epochs", sum(self._seen))
        self.session: Session | None = None
        self._last = 0.0
        self._time = time.time()
        self._cores = training.job.target.cores if training.job.target else 1

    def __enter__(self) -> _Watch:
        self._progress.__enter__()
        return self

    def __exit__(self, *trouble: Any) -> None:
        self._progress.__exit__(*trouble)

    def tick(self, now: bool = False) -> None:
        """Look at most every few seconds."""
        if not now and time.monotonic() - self._last < self.EVERY_S:
            return
        self._last = time.monotonic()
        for index, member in enumerate(self._members):
            epochs = self._module.progress(member)
            new = epochs[self._seen[index] :]
            if not new:
                continue
            self._seen[index] = len(epochs)
            if self.session:
                self.session.progressed()
            elapsed, self._time = time.time() - self._time, time.time()
            unit = {"kind": "unit", "id": f"member-{index}", "of": self._of, "ok": True, "t": round(time.time(), 3)}
            self._journal.append(
                {**unit, "s": round(elapsed, 3), "cores": self._cores, "at": len(epochs), "info": new[-1]}
            )
            self._progress.update(len(new))
        self._progress.tick()


def _facts(training: Training, prepared: Prepared, trained: list[Wire], files: dict[str, str]) -> dict[str, Any]:
    """The contents of model.toml, less the weights' checksums."""
    first = trained[0]
    return {
        "family": training.family,
        "members": len(trained),
        "elements": first["elements"],
        "cutoff": first["cutoff"],
        "dtype": first["dtype"],
        "trainer": first["trainer"],
        "psiflow": __version__,
        "data_sha256": files["sha256"],
        "train_frames": prepared.data.count("train"),
        "valid_frames": prepared.data.count("valid"),
        "seed": training.seed,
        "atomic_energies": first["atomic_energies"],
        "configuration": prepared.config,
    }


def _make_bundle(
    training: Training,
    space: Workspace,
    session: Session,
    facts: dict[str, Any],
    trained: list[Wire],
    members: list[Path],
) -> dict[str, Any]:
    """Assemble the bundle beside its place, then put it there in one step; returns the last epoch's metrics."""
    final = Path(training.job.output)
    made = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.absolute().parent))
    try:
        weights = {}
        for index, member in enumerate(trained):
            folder = made / f"member-{index}"
            folder.mkdir()
            for source in map(Path, member["weights"]):
                shutil.copyfile(source, folder / source.name)
                digest = hashlib.sha256((folder / source.name).read_bytes()).hexdigest()
                weights[f"member-{index}/{source.name}"] = digest
            for log in map(Path, member["logs"]):
                shutil.copyfile(log, folder / log.name)
        curves = [training.module.progress(m) for m in members]
        metrics = {
            f"member-{i}": {"epochs": len(c), "last": c[-1] if c else {}, **trained[i].get("metrics", {})}
            for i, c in enumerate(curves)
        }
        (made / "metrics.json").write_text(json.dumps({"metrics": metrics, "curves": curves}, indent=1))
        _draw(session, curves, made / "learning-curve.png")
        (made / "model.toml").write_text(toml.dumps({**facts, "weights": weights}))
        bundle.load(str(made))
        space.run.publish(made, training.job.output)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return metrics


def _draw(session: Session, curves: list[list[Wire]], path: Path) -> None:
    session.submit(Task("psiflow_cli.worker.figures:learning_curve", {"members": curves, "path": str(path.absolute())}))
    _, outcome = session.next()
    if outcome.lost or outcome.error:
        raise PsiflowError(f"the learning curve could not be drawn: {outcome.lost or outcome.error}")
