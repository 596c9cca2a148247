"""psiflow rattle: distorted copies to start from."""

from __future__ import annotations

import click

from psiflow_cli import options
from psiflow_cli.commands.shared import runner


@click.command("rattle", cls=options.StageCommand, short_help="Distorted copies of structures, to start from")
@options.frames
@click.option("-n", "copies", type=click.IntRange(1), default=10, show_default=True, help="Copies of each frame.")
@click.option(
    "--amplitude",
    type=options.Finite(0),
    default=0.05,
    show_default=True,
    metavar="Å",
    help="Standard deviation of each Cartesian displacement.",
)
@click.option(
    "--strain",
    type=options.Finite(0, 0.5),
    default=0.0,
    show_default=True,
    help="Standard deviation of each strain component, for periodic frames.",
)
@options.seed
@options.common
def command(
    frames: tuple[str, ...], copies: int, amplitude: float, strain: float, seed: int, common: options.Common
) -> None:
    """Make distorted copies of FRAMES: normally distributed displacements, and strains of periodic cells.

    \b
    Example:
      psiflow rattle water.xyz -n 100 --amplitude 0.08 --strain 0.02 -o rattled.xyz
    """
    from psiflow_cli.stages.core.workspace import Job
    from psiflow_cli.stages.structures import rattle

    output = common.output or options.beside(frames, "rattled")
    settings = {"copies": copies, "amplitude": amplitude, "strain": strain, "seed": seed}
    job = runner.on_site(Job("rattle", frames, output, settings), common)
    rattling = rattle.Rattling(job, copies, amplitude, strain, seed)
    runner.perform(
        job, common,
        plan=lambda workspace: {"copies": sum(1 for _ in workspace.frames()) * copies},
        run=lambda workspace: rattle.run(rattling, workspace),
        say=lambda s: f"{s['total']} distorted copies -> {runner.name(s['output'])}",
    )  # fmt: skip
