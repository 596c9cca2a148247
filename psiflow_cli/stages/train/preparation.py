"""All that is read, checked and decided of a training before anything is submitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psiflow_cli.errors import BadConfig, BadData, UsageError
from psiflow_cli.protocols import Notes
from psiflow_cli.site.executor import ResolvedExecutor
from psiflow_cli.stages.core.workspace import Workspace
from psiflow_cli.stages.train import dataset, e0s, initial_model
from psiflow_cli.stages.train.request import Training

if TYPE_CHECKING:
    from psiflow_cli.messages import Config, TrainingData


@dataclass(frozen=True)
class Prepared:
    """The data and the trainer's configuration, checked, before anything is submitted."""

    sources: dataset.Sources
    data: dataset.Dataset
    config: Config
    e0s: e0s.E0S | str
    start: initial_model.Start | None
    notes: list[str]


def prepare(training: Training, workspace: Workspace, keep: bool = False) -> Prepared:
    """Read and check all data, and make the trainer's configuration; with `keep`, copy the model to start from."""
    job = workspace.job
    start = initial_model.find(training.init, job.output, job.folder, keep)
    sources = dataset.Sources(
        workspace.frames,
        training.label_keys,
        (lambda: workspace.read(training.valid)) if training.valid_file else None,
        start.data() if start else {},
        training.replay,
    )
    share = 0.0 if training.valid_file else float(training.valid)
    data = dataset.read(sources, share, training.seed, training.mixed_references)
    for part, purpose in (("train", "train"), ("valid", "validate")):
        if not data.count(part):
            raise BadData(f"{job.frames[0]}: no frames to {purpose} on", "give more data, or --valid FILE|SHARE")
    if start:
        start.check(data.elements)
    energies, drift = _energies(training, data, start)
    summary = _summary(data, energies, start, job.executor)
    config = _plan(training, summary)
    notes = [*data.notes, *([drift] if drift else []), *_start_notes(start, sources, data), *_member_notes(training)]
    if isinstance(training.module, Notes):
        notes += training.module.notes(config, summary)
    return Prepared(sources, data, config, energies, start, notes)


def _energies(
    training: Training, data: dataset.Dataset, start: initial_model.Start | None
) -> tuple[e0s.E0S | str, str]:
    """The energies of isolated atoms, and a note on them; those of a bare model file where nobody gives others."""
    if start and start.model.is_foreign and training.e0s is None and data.elements - data.e0s.keys():
        return "init", e0s.WAYS["init"]
    elements = data.elements | set(start.model.elements if start else ())
    return e0s.choose(elements, data.e0s, data.crystals_of_one_atom, training.e0s, start.e0s if start else None)


def _summary(
    data: dataset.Dataset, energies: e0s.E0S | str, start: initial_model.Start | None, executor: ResolvedExecutor | None
) -> TrainingData:
    """What a family has to know of the data; see `protocols.Model.plan`."""
    summary: TrainingData = {
        "elements": sorted(data.elements), "frames": data.count("train"), "valid_frames": data.count("valid"),
        "stress": data.frames == data.with_stress, "some_stress": data.with_stress > 0,
        "periodic": data.periodic > 0, "weighted": data.weighted, "e0s": energies,
    }  # fmt: skip
    if start:
        summary["init"] = {} if start.model.is_foreign else start.model.facts["configuration"]
        if start.model.head is not None:
            summary["head"] = start.model.head
    if executor and (dtype := executor.context["dtype"]):
        summary["dtype"] = dtype
    return summary


def _member_notes(training: Training) -> list[str]:
    """What tells members apart that start from the same weights."""
    if training.init is None or training.members <= (first := len(training.init.members)):
        return []
    which = f"member {first}" if training.members == first + 1 else f"members {first} to {training.members - 1}"
    how = "its own bootstrap sample" if training.has_sample(first) else "all frames in another order, and no more"
    return [f"{which} of the committee: from weights that another member starts from, too, with {how}"]


def _start_notes(start: initial_model.Start | None, sources: dataset.Sources, data: dataset.Dataset) -> list[str]:
    if start is None or not sources.replay:
        return []
    if "train" not in sources.old:
        return [f"{start.name} has no training data with it: only the new frames are trained on"]
    return [f"{data.replayed} frames that {start.name} was trained on are replayed"] if data.replayed else []


def _plan(training: Training, summary: TrainingData) -> Config:
    """The trainer's configuration; a mistake in the user's file is said to be there."""
    try:
        return training.module.plan(training.config, dict(training.settings), summary)
    except UsageError as error:
        key = error.message.split()[0].rstrip(":")
        if key in training.config and key not in training.settings:
            raise BadConfig(f"{training.config_file}: {error.message}", error.hint) from None
        raise
