"""psiflow split: train, validation and test parts without leakage of duplicates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from psiflow_cli import formats, options
from psiflow_cli.commands.shared import runner
from psiflow_cli.errors import UsageError, counted
from psiflow_cli.values import quantities

if TYPE_CHECKING:
    from psiflow_cli.stages.select.split import Part


def _parts(value: str) -> dict[str, float]:
    parts: dict[str, float] = {}
    for item in value.split(","):
        name, equals, share = (s.strip() for s in item.partition("="))
        try:
            number = quantities.share(share)
        except ValueError:
            number = -1.0
        if not equals or not name.isidentifier() or not number > 0:
            raise ValueError(f"{item!r} is not NAME=SHARE with a share above 0")
        if name in parts:
            raise ValueError(f"{name!r} is given twice")
        parts[name] = number
    if abs(sum(parts.values()) - 1) > 1e-6:
        raise ValueError(f"the shares add up to {sum(parts.values()):g}, not to 1")
    return parts


@click.command("split", cls=options.Command)
@options.frames
@options.text("--parts", "train=0.8,valid=0.1,test=0.1", "NAME=SHARE,...", "Names and shares of the parts.", _parts)
@options.text("--group", None, "KEY",
    "Keep frames with the same value of this key together, such as walker or config_type.")  # fmt: skip
@options.text("--stratify", None, "KEY",
    "Keep the proportions of this key's values in each part; `composition` works, too.")  # fmt: skip
@options.seed
@options.common(formats.STRUCTURES_IN_FILE)
def command(
    frames: tuple[str, ...],
    parts: dict[str, float],
    group: str | None,
    stratify: str | None,
    seed: int,
    common: options.Common,
) -> None:
    """Split FRAMES at random into parts. Equal structures stay together, and isolated atoms go to the first part.

    The parts are written beside the input (or --output) and named after it: data.train.xyz, data.valid.xyz,
    data.test.xyz.

    Neighbouring frames of a trajectory are nearly copies: with --group walker, no walker is in two parts. Groups are
    never divided, so the shares are met as closely as they allow. A frame without the key of --group is a group of its
    own; frames without the key of --stratify count as one kind.

    \b
    Examples:
      psiflow split labelled.xyz --parts train=0.9,valid=0.1 --seed 7
      psiflow split labelled.xyz --group walker --stratify composition
    """
    from psiflow_cli.stages.core.workspace import Job
    from psiflow_cli.stages.select import split

    if group is not None and group == stratify:
        raise UsageError(
            f"--group and --stratify are both {group}", "frames cannot both stay together and be divided in proportion"
        )
    base = common.output or frames[0]
    if base == "-":
        raise UsageError("split writes several files, not stdout", "name the files with --output NAME.xyz")
    files = {name: formats.beside((base,), name, keep_suffix=bool(common.output)) for name in parts}
    settings = {"parts": parts, "group": group, "stratify": stratify, "seed": seed}
    output, *others = files.values()
    job = Job(
        "split", frames, output, settings,
        other_outputs=tuple(others), run_dir=formats.beside((base,), "split") + ".run",
    )  # fmt: skip
    job = runner.on_site(job, common)
    splitting = split.Splitting(job, parts, files, seed, group, stratify)

    def as_text(summary: split.Summary) -> str:
        without = "".join(f"; no {key} in {counted(count, 'frame')}" for key, count in summary["without"].items())
        return ", ".join(_of_part(part, group) for part in summary["parts"].values()) + without

    runner.perform(
        job, common,
        plan=lambda workspace: {"frames": sum(1 for _ in workspace.frames()), "outputs": ", ".join(files.values())},
        run=lambda workspace: split.run(splitting, workspace),
        as_text=as_text,
    )  # fmt: skip


def _of_part(part: Part, group: str | None) -> str:
    groups = f" ({part['groups']} of {group})" if group else ""
    return f"{counted(part['frames'], 'frame')}{groups} -> {part['output']}"
