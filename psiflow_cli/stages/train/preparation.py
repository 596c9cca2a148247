"""All that is read, checked and decided of a training before anything is submitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psiflow_cli.errors import BadData, BadSettings, UsageError, counted
from psiflow_cli.protocols import SIZES, Notes, TrainsHeads
from psiflow_cli.site.executor import ResolvedExecutor
from psiflow_cli.stages.core.workspace import Workspace
from psiflow_cli.stages.models.show import main_settings
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
    e0s: Mapping[str, object] | str
    """Energies of isolated atoms, or how they come about; of several heads, those of each."""
    start: initial_model.Start | None
    notes: list[str]
    summary: TrainingData
    """What the family knows of the data."""


def prepare(training: Training, workspace: Workspace, pin_copy: bool = False) -> Prepared:
    """Read and check all data, and make the trainer's configuration; with `pin_copy`, copy the model to start from."""
    job = workspace.job
    start = initial_model.find(training.init, job.output, job.folder, pin_copy)
    sources = dataset.Sources(
        workspace.frames,
        training.label_keys,
        (lambda: workspace.read(training.valid)) if training.valid_file else None,
        start.data() if start else {},
        training.replay,
    )
    share = 0.0 if training.valid_file else float(training.valid)
    apart = isinstance(training.module, TrainsHeads)
    data = dataset.read(sources, share, training.seed, training.mixed_references, apart)
    for part, purpose in (("train", "train"), ("valid", "validate")):
        if not data.count(part):
            raise BadData(f"{job.frames[0]}: no frames to {purpose} on", "give more data, or --valid FILE|SHARE")
    if start:
        start.check(data.elements)
    of_heads = {head: _energies_of(head, training, data) for head in data.heads}
    energies, drift = _energies(training, data, start) if not of_heads else (next(iter(of_heads.values())), "")
    summary = _summary(data, energies, start, job.executor)
    if of_heads:
        summary["heads"] = of_heads
    if training.config.name:
        summary["as_given"] = True
    else:
        summary["size"] = training.size or [size for size in SIZES if SIZES[size] <= summary["frames"]][-1]
    config = _plan(training, summary)
    notes = [_defaults_note(training, config, summary), *data.notes]
    notes += [*([drift] if drift else []), *_start_notes(start, sources, data), *_member_notes(training)]
    if data.heads:
        notes.append(f"one head is trained for each method: {', '.join(data.heads)}; choose one later with --head")
    if isinstance(training.module, Notes):
        notes += training.module.notes(config, summary)
    return Prepared(sources, data, config, of_heads or energies, start, notes, summary)


def _energies(
    training: Training, data: dataset.Dataset, start: initial_model.Start | None
) -> tuple[e0s.E0S | str, str]:
    """The energies of isolated atoms, and a note on them; those of a bare model file where nobody gives others."""
    if start and start.model.is_foreign and training.e0s is None and data.elements - data.e0s().keys():
        return "init", e0s.WAYS["init"]
    elements = data.elements | set(start.model.elements if start else ())
    return e0s.choose(elements, data.e0s(), data.crystals_of_one_atom, training.e0s, start.e0s if start else None)


def _energies_of(head: str, training: Training, data: dataset.Dataset) -> e0s.E0S | str:
    """The energies of isolated atoms of one head of several: of every element, since every head predicts them all."""
    if training.init:
        problem = f"frames of {len(data.heads)} heads ({', '.join(data.heads)}), but a model to start from has only one"
        raise UsageError(problem, "give the frames of one head, or leave out --init")
    if training.e0s not in (None, "average"):
        problem = (
            f"--e0s gives the energies of one method, but the frames have {len(data.heads)} heads: "
            f"{', '.join(data.heads)}"
        )
        raise UsageError(problem, "give one-atom frames with their head=NAME, or --e0s average")
    try:
        return e0s.choose(data.elements, data.e0s(head), data.crystals_of_one_atom, training.e0s, None)[0]
    except BadData as error:
        hint = f"add one-atom frames with head={head}, or give --e0s average"
        raise BadData(f"head={head}: {error.message}", hint) from None


def _summary(
    data: dataset.Dataset, energies: e0s.E0S | str, start: initial_model.Start | None, executor: ResolvedExecutor | None
) -> TrainingData:
    """What a family has to know of the data; see `protocols.Model.plan`."""
    summary: TrainingData = {
        "elements": sorted(data.elements), "frames": data.count("train"), "valid_frames": data.count("valid"),
        "stress": data.frames == data.with_stress, "some_stress": data.with_stress > 0,
        "valid_stress": data.has_stress("valid"), "periodic": data.periodic > 0, "weighted": data.weighted,
        "e0s": energies,
    }  # fmt: skip
    if start:
        summary["init"] = {} if start.model.is_foreign else start.model.facts["configuration"]
        if start.model.head is not None:
            summary["head"] = start.model.head
    if executor and (dtype := executor.context["dtype"]):
        summary["dtype"] = dtype
    if executor and executor.context["device"] != "cpu" and executor.context["gpus"] > 1:
        summary["gpus"] = executor.context["gpus"]
    return summary


def _member_notes(training: Training) -> list[str]:
    """What tells members apart that start from the same weights."""
    if training.init is None or training.members <= (first := len(training.init.members)):
        return []
    which = f"member {first}" if training.members == first + 1 else f"members {first} to {training.members - 1}"
    how = "its own bootstrap sample" if training.has_sample(first) else "only a different order of the same frames"
    return [f"{which} of the committee: same initial weights as another member, with {how}"]


def _start_notes(start: initial_model.Start | None, sources: dataset.Sources, data: dataset.Dataset) -> list[str]:
    if start is None or not sources.replay:
        return []
    if "train" not in sources.old:
        return [f"{start.name} contains no training data: only the new frames are trained on"]
    return [f"replaying {counted(data.replayed, 'frame')} that {start.name} was trained on"] if data.replayed else []


def _plan(training: Training, summary: TrainingData) -> Config:
    """The trainer's configuration; what is refused of the user's file is said to be there."""
    try:
        return training.module.plan(training.config.table, dict(training.settings), summary)
    except BadSettings as error:
        raise training.config.refused(error, training.settings) from None


def _defaults_note(training: Training, config: Config, summary: TrainingData) -> str:
    """Where the settings come from, and the main ones."""
    family = training.arch
    if "as_given" in summary:
        others = "all others are the trainer's own defaults, except data, seed, device and atomic energies"
        return f"{family}: the settings of {training.config.name} as they are; {others}"
    main = ", ".join(f"{name} {value}" for name, value in main_settings(training.module, config).items())
    kind = "as the model to start from" if "init" in summary else f"size {summary['size']}"
    return f"{family}, {kind}, {counted(summary['frames'], 'frame')} to train{f': {main}' if main else ''}"
