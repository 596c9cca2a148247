"""psiflow train: fit a model, or several, to labelled frames."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from psiflow_cli import formats, options, registry
from psiflow_cli.commands.shared import bundles, runner
from psiflow_cli.errors import UsageError, counted
from psiflow_cli.protocols import SIZES
from psiflow_cli.values import kinds, quantities

if TYPE_CHECKING:
    from psiflow_cli.messages import Summary
    from psiflow_cli.stages.core.workspace import Workspace


def _valid(value: str) -> str:
    try:
        share = quantities.share(value)
    except ValueError:
        return value
    if not 0 < share < 1:
        raise ValueError(f"{value} is neither a file nor a share between 0 and 1")
    return f"{share:g}" if value.strip().endswith("%") else value


_TRAINED = kinds.Name(
    "model", registry.names("models"), others=registry.families(),
    why="psiflow runs models of {} and does not train them",
)  # fmt: skip


@click.command("train", cls=options.Command)
@options.frames
@options.name("--arch", "FAMILY", _TRAINED, ".")
@options.text("--valid", "0.1", "FILE|SHARE", "Validation frames: a file, or a share of FRAMES.", _valid)
@options.file(
    "--e0s",
    "Energies of isolated atoms, in eV [default: from one-atom frames in the data].",
    "FILE|DICT|average|init|estimated",
)
@options.choice(
    "--size",
    tuple(SIZES),
    None,
    "Model size when there is no --config [default: small; medium from 1000 frames; large from 10000].",
)
@options.file("--config", "Configuration file of the trainer, YAML or TOML, used as it is.")
@options.settings
@options.keys
@options.file("--init", "Model of the same family to start from.", "BUNDLE|FILE")
@click.option("--replay/--no-replay", default=True, show_default=True,
    help="Also train on the training data of the --init model, or not.")  # fmt: skip
@bundles.model_use
@options.count("--members", 1, "Number of models in the committee.")
@click.option("--bootstrap/--no-bootstrap", default=None,
    help="Train each member on its own random sample, drawn with replacement, or not [default: only members "
    "that start from the same weights as another].")  # fmt: skip
@options.flag("--mixed-references", "Allow labels from different methods in one training.")
@options.seed
@options.common(formats.BUNDLE)
def command(
    frames: tuple[str, ...],
    arch: str | None,
    e0s: str | None,
    config: str | None,
    init: str | None,
    use: bundles.ModelUse,
    common: options.Common,
    **more: Any,
) -> None:
    """Train a model on FRAMES with the family's own trainer, and write a model bundle.

    Without --config, psiflow's defaults for the --size of the model are used and printed. With --config, only data,
    seed, device, atomic energies and file names are filled in: everything else that the file leaves out has the
    trainer's own default. Single settings (--set) override both. All settings have the trainer's own names. Files named
    in a configuration are searched in the working directory, then beside the configuration.

    The default size follows the number of training frames, because with few frames a large model takes longer without
    smaller errors: small (mace: 32 scalar channels), medium from 1000 frames (64 channels, max_L 1), large from 10000
    (128 channels, max_L 1, as MACE itself). docs/training.md has all defaults and their reasons.

    --dry-run prints the configuration as a file for --config and marks the settings that come from --set or a file.

    Run the same command again to continue from the last checkpoint. A training that is stopped (by --deadline, the
    walltime of its task, a signal, an error) writes the best model so far, marked as unfinished, and exits with 75 or
    the code of the error. An existing finished model is not replaced by an unfinished one, which is then
    unfinished.model in the run directory.

    During training, the epoch, the remaining time, the validation RMSE of energies (E) and forces (F), the stage, the
    losses and the learning rate are shown, on one line of a terminal or else every 30 s; `psiflow status` shows the
    same. At the end, the validation errors of the final weights are printed to stdout.

    With --init, an existing model is trained further: architecture and energies of isolated atoms stay, the learning
    rate is lower, there are fewer epochs, and training ends when the validation loss stops falling. Structures that the
    model knows stay in the training or validation part where they were. --init may name the output itself, so that a
    command that runs every night trains only when FRAMES have grown.

    A bare model file is fine-tuned: MACE with the settings that its guide recommends (also for --set lora=true or
    freeze=5), and with the energies of isolated atoms from the data, from the model (--e0s init), or from the model
    corrected by the labels (--e0s estimated).

    Frames with different values of head belong to different methods, and then every frame needs one: MACE trains one
    head for each, with the isolated atoms that have the same head.

    It is an error if some validation frames are also training frames (if all are, a message says so), if an element
    is in no training frame, or if frames were labelled by different methods (psiflow_reference, and head in families
    without heads). A frame that is not periodic in all three directions has no stress to train on. MACE weights
    frames by their config_weight; for NequIP and Allegro, a weight other than 1 is an error.

    Settings of mace are the options of mace_run_train. Settings of nequip and allegro are those of NequIP's Hydra
    YAML: a complete file as --config, a path such as trainer.gradient_clip_val=1 or model.r_max=4.5 in --set, or an
    unambiguous name (max_epochs, batch_size, lr, r_max, num_layers, …).

    \b
    Example:
      psiflow train train.xyz atoms.xyz --valid valid.xyz --arch mace --set r_max=5.0 -o water.model
    """
    first = bundles.start(init, use, arch) if init else None
    family = options.required(first.family if first else arch, "--arch")
    module = registry.load("models", family)
    from psiflow_cli.stages.train import config as trainers_file
    from psiflow_cli.stages.train import e0s as energies_of
    from psiflow_cli.stages.train import preparation, stage
    from psiflow_cli.stages.train.config_text import as_yaml
    from psiflow_cli.stages.train.request import Training

    try:
        energies = energies_of.parse(e0s) if e0s else None
    except ValueError as error:
        raise UsageError(f"--e0s: {error}") from None
    output = common.output or formats.beside(frames, "", ".model")
    if output == "-":
        raise UsageError("a model bundle is a directory and cannot go to stdout", "name it with --output")
    training = Training(
        arch=family,
        module=module,
        e0s=energies,
        config=trainers_file.read(config),
        init=first,
        **more,
    )
    training.check()
    job = training.job(frames, os.path.normpath(output))
    job = runner.on_site(job, common, family, "train", training.members)

    def plan(workspace: Workspace) -> dict[str, object]:
        prepared = preparation.prepare(training, workspace)
        counts = {part: prepared.data.count(part) for part in ("train", "valid")}
        notes = {"notes": prepared.notes} if prepared.notes else {}
        values = {**counts, "atomic_energies": prepared.e0s, "configuration": prepared.config, **notes}
        return runner.Plan(values, text=as_yaml(training, prepared.config, prepared.summary), of="configuration")

    runner.perform(
        job, common, plan=plan, run=lambda workspace: stage.run(training, workspace),
        as_text=_as_text, show=_errors,
    )  # fmt: skip


def _as_text(summary: Summary) -> str:
    """One line about what came of it."""
    different = dict.fromkeys(summary["trained_epochs"])
    trained = "/".join(map(str, different))
    where = runner.name(summary["output"])
    if not summary["unfinished"]:
        unit = "epoch" if list(different) == [1] else "epochs"
        return f"trained {counted(summary['total'], 'model')} for {trained} {unit} -> {where}"
    done = f"time limit reached after {trained} of {summary['epochs']} epochs: the best so far -> {where}"
    return f"{done}; run the same command again to continue"


def _errors(summary: Summary) -> str:
    """The validation errors of the weights that were kept, and where the learning curve is."""
    from psiflow_cli.stages.models import show

    metrics = summary["metrics"]
    members = [show.member_errors(index, metrics[f"member-{index}"]) for index in range(len(metrics))]
    curve = os.path.join(summary["output"], "learning-curve.png")
    drawn = [f"learning curve: {curve}"] if os.path.exists(curve) else []
    return "\n".join(["validation errors", *show.error_lines(members), *drawn])
