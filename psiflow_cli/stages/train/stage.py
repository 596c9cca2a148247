"""Fit one model, or several with different seeds, and make a bundle that appears whole or not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli import __version__, extxyz
from psiflow_cli.console import note
from psiflow_cli.errors import PsiflowError
from psiflow_cli.runtime.request import fingerprint
from psiflow_cli.stages.core import retention
from psiflow_cli.stages.core.workspace import Workspace
from psiflow_cli.stages.train import bundling, dataset, initial_model
from psiflow_cli.stages.train.committee import Committee, Member
from psiflow_cli.stages.train.preparation import Prepared, prepare
from psiflow_cli.stages.train.progress import Watch
from psiflow_cli.stages.train.request import Training

if TYPE_CHECKING:
    from psiflow_cli.messages import Summary, TrainedMember, TrainingFacts, TrainingJob


def run(training: Training, workspace: Workspace) -> Summary:
    """Train every member and make the bundle; returns the summary."""
    prepared = prepare(training, workspace, keep=True)
    for text in prepared.notes:
        note(text)
    epochs = training.module.epochs(prepared.config)
    workspace.run.begin(epochs * training.members)
    with workspace.run.guard_end():
        files = _write(workspace, prepared)
        digest = _sha256(files)
        init = prepared.start.model.fingerprint if prepared.start else None
        what = [training.worker, prepared.config, digest, training.seed, init, training.bootstrap]
        # a member does not depend on how many there are
        folder = workspace.job.folder / "work" / workspace.run.key(fingerprint(what))
        retention.unmark(folder)
        members = [_member(training, prepared, files, folder, index) for index in range(training.members)]
        key = workspace.run.key(fingerprint([*what, training.members]))
        watching = Watch(training.module, workspace, members, key, epochs)
        with watching as watch, workspace.session(watch.tick) as session:
            watch.session = session
            committee = Committee(members, training.module, training.worker, session, workspace.context())
            try:
                committee.train(workspace.run.note_lost)
            except PsiflowError:
                committee.stop()
                if committee.trained:
                    summary = _deliver(training, prepared, workspace, committee, files)
                    count = f"{len(committee.trained)} of {len(members)} models: " if len(members) > 1 else ""
                    note(f"{count}the best so far, marked as unfinished -> {summary['output']}")
                raise
            watch.tick(now=True)
            summary = _deliver(training, prepared, workspace, committee, files)
    if not summary["unfinished"]:
        initial_model.forget(workspace.job.folder)
        retention.keep_only(folder)
    return {**summary, "epochs": epochs}


def _deliver(
    training: Training, prepared: Prepared, workspace: Workspace, committee: Committee, files: dict[str, str]
) -> Summary:
    """Make the bundle of those members that have a model; returns the summary."""
    indices = sorted(committee.trained)
    trained = [committee.trained[index] for index in indices]
    curves = [training.module.progress(committee.members[index].folder) for index in indices]
    facts = _facts(training, prepared, trained, _sha256(files), [len(curve) for curve in curves])
    output, metrics = bundling.publish(workspace, committee.session, facts, trained, curves, files)
    return {
        "total": training.members, "failed": 0, "output": output, "unfinished": bool(facts.get("unfinished")),
        "trained_epochs": facts["epochs"], "metrics": metrics,
    }  # fmt: skip


def _write(workspace: Workspace, prepared: Prepared) -> dict[str, str]:
    """The files to train on and to validate with, in one spelling of the labels."""
    files: dict[str, str] = {}
    for part in ("train", "valid"):
        path = (workspace.job.folder / f"{part}.xyz").absolute()
        extxyz.write(path, dataset.render(prepared.sources, prepared.data.parts, part))
        files[part] = str(path)
    return files


def _sha256(files: dict[str, str]) -> str:
    digest = hashlib.sha256()
    for path in files.values():
        digest.update(Path(path).read_bytes())
    return digest.hexdigest()


def _member(training: Training, prepared: Prepared, files: dict[str, str], folder: Path, index: int) -> Member:
    """One of the models, with its folder and, in a bootstrap, its own training frames."""
    place = folder / f"member-{index}"
    place.mkdir(parents=True, exist_ok=True)
    sample = files["train"]
    if training.bootstrap:
        sample = str((place / "bootstrap.xyz").absolute())
        copies = prepared.data.copies(training.seed, index)
        extxyz.write(sample, dataset.render(prepared.sources, prepared.data.parts, "train", copies))
    job: TrainingJob = {
        "workdir": str(place.absolute()), "train": sample, "valid": files["valid"], "config": prepared.config,
        "seed": training.seed + index,
    }  # fmt: skip
    if prepared.start:
        job["init"] = prepared.start.member(index)
    return Member(index, place, job)


def _facts(
    training: Training, prepared: Prepared, trained: list[TrainedMember], digest: str, epochs: list[int]
) -> TrainingFacts:
    """The contents of model.toml, less the checksums of its files."""
    first = trained[0]
    facts: TrainingFacts = {
        "family": training.arch, "members": len(trained), "elements": first["elements"],
        "cutoff": first["cutoff"], "dtype": first["dtype"],
    }  # fmt: skip
    if len(trained) < training.members or not all(member["finished"] for member in trained):
        facts["unfinished"] = True
    facts |= {
        "trainer": first["trainer"], "psiflow": __version__, "data_sha256": digest,
        "train_frames": prepared.data.count("train"), "valid_frames": prepared.data.count("valid"),
        "seed": training.seed, "bootstrap": training.bootstrap,
    }  # fmt: skip
    if prepared.start:
        model = prepared.start.model
        facts |= {"init": model.fingerprint, "init_weights": model.facts["weights"]}
        facts["replayed_frames"] = prepared.data.replayed
    facts |= {"atomic_energies": first["atomic_energies"], "configuration": prepared.config, "epochs": epochs}
    return facts
