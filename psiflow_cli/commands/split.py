"""psiflow split: train, validation and test parts without leakage of duplicates."""

from __future__ import annotations

from typing import Any

import click

from psiflow_cli import options
from psiflow_cli.commands import _stage
from psiflow_cli.errors import UsageError


def _parts(_ctx: click.Context, _param: click.Parameter, value: str) -> dict[str, float]:
    parts: dict[str, float] = {}
    for item in value.split(","):
        name, equals, share = (s.strip() for s in item.partition("="))
        try:
            number = float(share)
        except ValueError:
            number = -1.0
        if not equals or not name.isidentifier() or not number > 0:
            raise click.BadParameter(f"{item!r} is not NAME=SHARE with a share above 0")
        if name in parts:
            raise click.BadParameter(f"{name!r} is named twice")
        parts[name] = number
    if abs(sum(parts.values()) - 1) > 1e-6:
        raise click.BadParameter(f"the shares add up to {sum(parts.values()):g}, not to 1")
    return parts


@click.command("split", cls=options.StageCommand, short_help="Parts to train, validate and test on, without leakage")
@options.frames
@click.option(
    "--parts",
    default="train=0.8,valid=0.1,test=0.1",
    show_default=True,
    callback=_parts,
    metavar="NAME=SHARE,...",
    help="Names and shares of the parts.",
)
@options.seed
@options.common
def command(frames: tuple[str, ...], parts: dict[str, float], seed: int, common: options.Common) -> None:
    """Split FRAMES at random into parts; equal structures stay together, isolated atoms go to the first part.

    The parts are written beside the input (or --output), named after it: data.train.xyz, data.valid.xyz, data.test.xyz.

    \b
    Example:
      psiflow split labelled.xyz --parts train=0.9,valid=0.1 --seed 7
    """
    from psiflow_cli.stages import split

    base = common.output or frames[0]
    if base == "-":
        raise UsageError("split writes several files, not stdout", "name them with --output NAME.xyz")
    files = {name: options.beside((base,), name) for name in parts}
    named = common._replace(output=base)
    job = _stage.job(
        "split", None, "split", frames, next(iter(files.values())), named, {"parts": parts, "seed": seed},
        other_outputs=tuple(files.values())[1:], run_dir=options.beside((base,), "split") + ".run",
    )  # fmt: skip
    splitting = split.Splitting(job, parts, files, seed)

    def say(summary: dict[str, Any]) -> str:
        return ", ".join(f"{part['frames']} frames -> {part['output']}" for part in summary["parts"].values())

    _stage.perform(
        job, common,
        plan=lambda space: {"frames": sum(1 for _ in space.frames()), "outputs": ", ".join(files.values())},
        run=lambda space: split.run(splitting, space),
        say=say,
    )  # fmt: skip
