"""Fit one model, or several with different seeds, and make a bundle that appears whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from psiflow_cli import __version__, extxyz
from psiflow_cli.console import detail, note
from psiflow_cli.errors import PsiflowError, Stopped, counted
from psiflow_cli.protocols import NeedsMore
from psiflow_cli.runtime.request import fingerprint, sha256
from psiflow_cli.site import environments
from psiflow_cli.stages.core import retention
from psiflow_cli.stages.core.workspace import Workspace
from psiflow_cli.stages.plot.curves import stage_two
from psiflow_cli.stages.train import bundling, dataset, initial_model
from psiflow_cli.stages.train.committee import Committee, Member
from psiflow_cli.stages.train.preparation import Prepared, prepare
from psiflow_cli.stages.train.progress import Watch
from psiflow_cli.stages.train.request import Training

if TYPE_CHECKING:
    from psiflow_cli.messages import Context, Summary, TrainedMember, TrainingFacts, TrainingJob

T = TypeVar("T")


def run(training: Training, workspace: Workspace) -> Summary:
    """Train every member and make the bundle; returns the summary."""
    stops: list[Stopped] = []
    prepared = _whole(lambda: prepare(training, workspace, pin_copy=True), workspace, stops)
    for text in prepared.notes:
        note(text)
    needs = training.module.packages(prepared.config) if isinstance(training.module, NeedsMore) else {}
    needs = {module: what for module, what in needs.items() if module not in training.files}
    environments.require(workspace.executor, needs)
    epochs = training.module.epochs(prepared.config)
    workspace.run.begin(epochs * training.members)
    with workspace.run.guard_end():
        files, members, what = _whole(lambda: _members(training, prepared, workspace), workspace, stops)
        for text in _details(training, prepared, members):
            detail(text)
        key = workspace.run.key(fingerprint([*what, training.members]))
        watching = Watch(training.module, workspace, members, key, epochs)
        with watching as watch, workspace.session(watch.tick) as session:
            watch.session = session
            committee = Committee(members, training.module, training.worker, session, _context(workspace, needs))
            try:
                for stop in stops:
                    raise stop
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
        retention.keep_only(members[0].folder.parent)
    return {**summary, "epochs": epochs}


def _whole(step: Callable[[], T], workspace: Workspace, stops: list[Stopped]) -> T:
    """What `step` returns; a stop meanwhile is kept in `stops`, and the step done again, where that is of use.

    So it is where an earlier run was killed after its first epoch: a model of its best one is to be delivered first.
    """
    try:
        return step()
    except Stopped as stop:
        is_begun = any(workspace.job.folder.glob("work/*/member-*"))
        if not is_begun or bundling.is_unfinished_there(workspace):
            raise
        note(f"{stop.message}: making a model of the best epoch so far first")
        stops.append(stop)
        return step()


def _members(
    training: Training, prepared: Prepared, workspace: Workspace
) -> tuple[dict[str, str], list[Member], list[object]]:
    """The files of the data, the trainings, and what tells these from others, whatever their number."""
    files = _write(workspace, prepared)
    digest = _sha256(files)
    init = prepared.start.model.fingerprint if prepared.start else None
    decisive: list[object] = [training.worker, prepared.config, digest, training.seed, init, bool(training.bootstrap)]
    if training.files:
        decisive.append(_digests(training))
    # a member does not depend on how many there are
    folder = workspace.job.folder / "work" / workspace.run.key(fingerprint(decisive))
    retention.unmark(folder)
    return files, [_member(training, prepared, files, folder, index) for index in range(training.members)], decisive


def _deliver(
    training: Training, prepared: Prepared, workspace: Workspace, committee: Committee, files: dict[str, str]
) -> Summary:
    """Make the bundle of those members that have a model; returns the summary."""
    indices = sorted(committee.trained)
    trained = [committee.trained[index] for index in indices]
    curves = [training.module.progress(committee.members[index].folder) for index in indices]
    facts = _facts(training, prepared, committee.trained, _sha256(files), [len(curve) for curve in curves])
    output, metrics = bundling.publish(
        workspace, committee.session, facts, trained, curves, files, stage_two(training.module, facts["configuration"])
    )
    return {
        "total": training.members, "failed": 0, "output": output, "unfinished": bool(facts.get("unfinished")),
        "trained_epochs": facts["epochs"], "metrics": metrics,
    }  # fmt: skip


def _details(training: Training, prepared: Prepared, members: list[Member]) -> Iterator[str]:
    """What was decided, and where the trainers have their logs."""
    train, valid = (prepared.data.count(part) for part in ("train", "valid"))
    share = training.valid if training.valid_file else f"the share {training.valid} of the data"
    yield f"{counted(train, 'frame')} to train on, {valid} to validate with ({share})"
    energies = prepared.e0s
    named = energies if isinstance(energies, str) else ", ".join(f"{e} {x:.6f}" for e, x in energies.items()) + " eV"
    own = "the data, or the model to start from" if prepared.start else "the data"
    whose = own if training.e0s is None else "--e0s"
    yield f"atomic energies, of {whose}: {named}"
    given = dict.fromkeys((*training.config.table, *training.settings))
    yield f"settings by --config or --set: {', '.join(given) or 'none'}"
    yield from (f"member {member.index} is trained in {member.folder}, where its logs are" for member in members)


def _write(workspace: Workspace, prepared: Prepared) -> dict[str, str]:
    """The files to train on and to validate with, in one spelling of the labels."""
    files: dict[str, str] = {}
    for part in ("train", "valid"):
        path = (workspace.job.folder / f"{part}.xyz").absolute()
        extxyz.write(path, dataset.render(prepared.sources, prepared.data, part))
        files[part] = str(path)
    return files


def _sha256(files: dict[str, str]) -> str:
    digest = hashlib.sha256()
    for path in files.values():
        digest.update(Path(path).read_bytes())
    return digest.hexdigest()


def _digests(training: Training) -> dict[str, str]:
    """The sha256 of each file that the configuration names."""
    return {os.path.relpath(path): sha256(Path(path)) for path in training.file_parts}


def _copied(files: dict[str, str], folder: Path) -> dict[str, str]:
    """The files that the configuration names, copied to where every worker can read them; modules stay in their place.

    A module may import what lies beside it.
    """
    paths = {}
    for number, (name, path) in enumerate(sorted(files.items())):
        copy = folder / str(number) / Path(path).name
        if path.endswith(".py") or os.path.isdir(path):
            paths[name] = path
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        paths[name] = str(copy.absolute())
    return paths


def _context(workspace: Workspace, needs: Mapping[str, str]) -> Context:
    """What the trainer runs on, with the variables of the loggers that it needs, which no file of the run holds.

    A batch system may not hand them on; they are named after their package, as `WANDB_MODE` is.
    """
    context = workspace.context()
    prefixes = tuple(f"{module.partition('_')[0].upper()}_" for module in needs)
    own = {name: value for name, value in os.environ.items() if name.startswith(prefixes)}
    return {**context, "env": {**own, **context["env"]}}


def _member(training: Training, prepared: Prepared, files: dict[str, str], folder: Path, index: int) -> Member:
    """One of the models, with its folder and, in a bootstrap, its own training frames."""
    place = folder / f"member-{index}"
    place.mkdir(parents=True, exist_ok=True)
    sample = files["train"]
    if training.has_sample(index):
        sample = str((place / "bootstrap.xyz").absolute())
        copies = prepared.data.copies(training.seed, index)
        extxyz.write(sample, dataset.render(prepared.sources, prepared.data, "train", copies))
    job: TrainingJob = {
        "workdir": str(place.absolute()), "train": sample, "valid": files["valid"], "config": prepared.config,
        "seed": training.member_seed(index),
    }  # fmt: skip
    if training.files:
        job["files"] = _copied(training.files, folder / "files")
    if prepared.start:
        job["init"] = prepared.start.member(index)
    return Member(index, place, job)


def _facts(
    training: Training, prepared: Prepared, members: dict[int, TrainedMember], digest: str, epochs: list[int]
) -> TrainingFacts:
    """The contents of model.toml, less the checksums of its files, for these members, by number."""
    indices = sorted(members)
    trained = [members[index] for index in indices]
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
        "seed": training.seed, "seeds": [training.member_seed(index) for index in indices],
        "bootstrap": any(training.has_sample(index) for index in indices),
    }  # fmt: skip
    if prepared.start:
        model = prepared.start.model
        facts |= {"init": model.fingerprint, "init_weights": model.facts["weights"]}
        facts["replayed_frames"] = prepared.data.replayed
        if model.head is not None:
            facts["init_head"] = model.head
    for key in ("heads", "head_energies"):
        if key in first:
            facts[key] = first[key]
    facts |= {"atomic_energies": first["atomic_energies"], "epochs": epochs}
    facts["configuration"] = first.get("configuration", prepared.config)
    if training.files:
        facts["files"] = _digests(training)
    return facts
