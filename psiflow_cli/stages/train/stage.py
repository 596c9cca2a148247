"""Fit one model, or several with different seeds, and make a bundle that appears whole or not at all."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psiflow_cli import __version__, bundle, extxyz
from psiflow_cli.console import Progress, note
from psiflow_cli.errors import BadConfig, BadData, UsageError
from psiflow_cli.messages import Wire
from psiflow_cli.protocols import Model
from psiflow_cli.runtime.request import fingerprint
from psiflow_cli.runtime.session import Session
from psiflow_cli.stages.core import retention
from psiflow_cli.stages.core.workspace import Job, Workspace
from psiflow_cli.stages.train import bundling, dataset, e0s, initial_model
from psiflow_cli.stages.train.committee import Member, train

if TYPE_CHECKING:
    from psiflow_cli.messages import Config, TrainingData


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
    e0s: e0s.E0S | str | None
    keys: dict[str, str] | None
    members: int
    seed: int
    init: bundle.Bundle | None = None
    """A model to start from, of the same family."""
    replay: bool = True
    """Whether what that was trained on is trained on again."""
    bootstrap: bool = False
    """Whether each member has its own sample of the training frames."""
    mixed: bool = False
    """Whether labels of several methods may be taken together."""

    @property
    def valid_file(self) -> str | None:
        return self.valid if self.job.other_inputs else None


@dataclass(frozen=True)
class Prepared:
    """The data and the trainer's configuration, checked, before anything is submitted."""

    sources: dataset.Sources
    data: dataset.Dataset
    config: Wire
    e0s: e0s.E0S | str
    start: initial_model.Start | None
    notes: list[str]


def prepare(training: Training, workspace: Workspace, keep: bool = False) -> Prepared:
    """Read and check all data, and make the trainer's configuration; with `keep`, copy the model to start from."""
    begin = initial_model.find(training.init, training.job.output, training.job.folder, keep)
    sources = dataset.Sources(
        workspace.frames,
        training.keys,
        (lambda: extxyz.read(Path(training.valid))) if training.valid_file else None,
        begin.data() if begin else {},
        training.replay,
    )
    share = 0.0 if training.valid_file else float(training.valid)
    data = dataset.read(sources, share, training.seed, training.mixed)
    for part, purpose in (("train", "train"), ("valid", "validate")):
        if not data.count(part):
            raise BadData(
                f"{training.job.frames[0]}: no frames to {purpose} on", "give more data, or --valid FILE|SHARE"
            )
    if begin:
        begin.check(data.elements)
    energies, drift = _energies(training, data, begin)
    summary = _summary(training, data, energies, begin)
    config = _plan(training, summary)
    notes = [*data.notes, *([drift] if drift else []), *_start_notes(begin, sources, data)]
    if hasattr(training.module, "notes"):
        notes += training.module.notes(config, summary)
    return Prepared(sources, data, config, energies, begin, notes)


def _energies(
    training: Training, data: dataset.Dataset, begin: initial_model.Start | None
) -> tuple[e0s.E0S | str, str]:
    """The energies of isolated atoms, and a note on them; those of a bare model file where nobody gives others."""
    if begin and begin.model.is_foreign and training.e0s is None and data.elements - data.e0s.keys():
        return "init", "the energies of isolated atoms are those of the model file"
    elements = data.elements | set(begin.model.elements if begin else ())
    return e0s.choose(elements, data.e0s, data.crystals_of_one_atom, training.e0s, begin.e0s if begin else None)


def _summary(
    training: Training, data: dataset.Dataset, energies: e0s.E0S | str, begin: initial_model.Start | None
) -> TrainingData:
    """What a family has to know of the data; see `protocols.Model.plan`."""
    summary: TrainingData = {
        "elements": sorted(data.elements),
        "frames": data.count("train"),
        "valid_frames": data.count("valid"),
        "stress": data.frames == data.with_stress,
        "some_stress": data.with_stress > 0,
        "periodic": data.periodic > 0,
        "weighted": data.weighted,
        "e0s": energies,
    }
    if begin:
        summary["init"] = {} if begin.model.is_foreign else begin.model.facts["configuration"]
    if training.job.executor and (dtype := training.job.executor.context["dtype"]):
        summary["dtype"] = dtype
    return summary


def _start_notes(begin: initial_model.Start | None, sources: dataset.Sources, data: dataset.Dataset) -> list[str]:
    if begin is None or not sources.replay:
        return []
    if "train" not in sources.old:
        return [f"{begin.name} has no training data with it: only the new frames are trained on"]
    return [f"{data.replayed} frames that {begin.name} was trained on are replayed"] if data.replayed else []


def _plan(training: Training, summary: TrainingData) -> Config:
    """The trainer's configuration; a mistake in the user's file is said to be there."""
    try:
        return training.module.plan(training.config, dict(training.options), summary)
    except UsageError as error:
        key = error.message.split()[0].rstrip(":")
        if key in training.config and key not in training.options:
            raise BadConfig(f"{training.config_file}: {error.message}", error.hint) from None
        raise


def run(training: Training, workspace: Workspace) -> dict[str, Any]:
    """Train every member and make the bundle; returns the summary."""
    prepared = prepare(training, workspace, keep=True)
    for said in prepared.notes:
        note(said)
    epochs = training.module.epochs(prepared.config)
    workspace.run.begin(epochs * training.members)
    with workspace.run.guard_end():
        files = _write(training, workspace, prepared, ("train", "valid"))
        digest = _sha256(files)
        init = prepared.start.model.fingerprint if prepared.start else None
        what = [training.worker, prepared.config, digest, training.seed, init, training.bootstrap]
        # a member does not depend on how many there are
        folder = workspace.job.folder / "work" / workspace.run.key(fingerprint(what))
        retention.unmark(folder)
        members = [_member(training, workspace, prepared, files, folder, index) for index in range(training.members)]
        of = workspace.run.key(fingerprint([*what, training.members]))
        with _Watch(training, workspace, members, of, epochs) as watch, workspace.session(watch.tick) as session:
            watch.session = session
            trained = train(
                members, training.module, training.worker, session, workspace.context(), workspace.run.note_lost
            )
            watch.tick(now=True)
            facts = _facts(training, prepared, trained, digest)
            curves = [training.module.progress(member.folder) for member in members]
            facts |= {"epochs": [len(curve) for curve in curves]}
            metrics = bundling.publish(workspace, session, facts, trained, curves, files)
    if "unfinished" not in facts:
        initial_model.forget(workspace.job.folder)
        retention.keep_only(folder)
    return {
        "total": training.members,
        "failed": 0,
        "output": training.job.output,
        "epochs": epochs,
        "unfinished": bool(facts.get("unfinished")),
        "trained_epochs": facts["epochs"],
        "metrics": metrics,
    }


def _write(training: Training, workspace: Workspace, prepared: Prepared, parts: tuple[str, ...]) -> dict[str, str]:
    """The trainer's own files, in one spelling of the labels."""
    files: dict[str, str] = {}
    for part in parts:
        path = (workspace.job.folder / f"{part}.xyz").absolute()
        extxyz.write(path, dataset.render(prepared.sources, prepared.data.parts, part))
        files[part] = str(path)
    return files


def _sha256(files: dict[str, str]) -> str:
    digest = hashlib.sha256()
    for path in files.values():
        digest.update(Path(path).read_bytes())
    return digest.hexdigest()


def _member(
    training: Training, workspace: Workspace, prepared: Prepared, files: dict[str, str], folder: Path, index: int
) -> Member:
    """One of the models, with its folder and, in a bootstrap, its own training frames."""
    place = folder / f"member-{index}"
    place.mkdir(parents=True, exist_ok=True)
    sample = files["train"]
    if training.bootstrap:
        sample = str((place / "bootstrap.xyz").absolute())
        copies = prepared.data.copies(training.seed, index)
        extxyz.write(sample, dataset.render(prepared.sources, prepared.data.parts, "train", copies))
    job = {
        "workdir": str(place.absolute()),
        "train": sample,
        "valid": files["valid"],
        "config": prepared.config,
        "seed": training.seed + index,
        **({"init": prepared.start.member(index)} if prepared.start else {}),
    }
    return Member(index, place, job)


class _Watch:
    """Follows the trainers' own files: finished epochs go into the journal and onto the progress bar."""

    EVERY_S = 2.0

    def __init__(self, training: Training, workspace: Workspace, members: list[Member], of: str, epochs: int) -> None:
        self._module, self._journal, self._of = training.module, workspace.run.journal, of
        self._members = [member.folder for member in members]
        self._seen = [0] * len(members)
        self._cores = training.job.executor.cores if training.job.executor else 1
        self.session: Session | None = None
        self._last = 0.0
        self._time = time.time()
        self._progress = Progress(epochs * len(members), "epochs", self._look(0.0))

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
        elapsed = time.time() - self._time
        if new := self._look(elapsed):
            self._time += elapsed
            if self.session:
                self.session.progressed()
            self._progress.update(new)
        self._progress.tick()

    def _look(self, elapsed: float) -> int:
        """Journal the epochs that are new, which took `elapsed` seconds; returns how many there are."""
        found = 0
        for index, member in enumerate(self._members):
            epochs = self._module.progress(member)
            new = epochs[self._seen[index] :]
            if not new:
                continue
            found += len(new)
            self._seen[index] = len(epochs)
            unit = {"kind": "unit", "id": f"member-{index}", "of": self._of, "ok": True, "t": round(time.time(), 3)}
            self._journal.append(
                {**unit, "s": round(elapsed, 3), "cores": self._cores, "at": len(epochs), "info": new[-1]}
            )
        return found


def _facts(training: Training, prepared: Prepared, trained: list[Wire], digest: str) -> dict[str, Any]:
    """The contents of model.toml, less the checksums of its files."""
    first = trained[0]
    begin = prepared.start
    return {
        "family": training.family,
        "members": len(trained),
        "elements": first["elements"],
        "cutoff": first["cutoff"],
        "dtype": first["dtype"],
        **({} if all(member["finished"] for member in trained) else {"unfinished": True}),
        "trainer": first["trainer"],
        "psiflow": __version__,
        "data_sha256": digest,
        "train_frames": prepared.data.count("train"),
        "valid_frames": prepared.data.count("valid"),
        "seed": training.seed,
        "bootstrap": training.bootstrap,
        **({"init": begin.model.fingerprint, "init_weights": begin.model.facts["weights"]} if begin else {}),
        **({"replayed_frames": prepared.data.replayed} if begin else {}),
        "atomic_energies": first["atomic_energies"],
        "configuration": prepared.config,
    }
