"""psiflow rattle: distorted copies to start from."""

from __future__ import annotations

import click

from psiflow_cli import formats, options
from psiflow_cli.commands.shared import runner
from psiflow_cli.errors import counted


@click.command("rattle", cls=options.Command)
@options.frames
@options.count("-n copies", 10, "Copies of each frame.")
@options.number("--amplitude", 0.05, "Å", "Standard deviation of each Cartesian displacement, in Å.", least=0, most=2)
@options.number("--strain", 0.0, "SHARE",
    "Standard deviation of each strain component, for periodic frames.", least=0, most=0.5)  # fmt: skip
@options.seed
@options.common(formats.STRUCTURES)
def command(
    frames: tuple[str, ...], copies: int, amplitude: float, strain: float, seed: int, common: options.Common
) -> None:
    """Make distorted copies of FRAMES: normally distributed displacements of the atoms, and random strains of periodic
    cells.

    Atoms whose move_mask is F are not displaced.

    \b
    Example:
      psiflow rattle water.xyz -n 100 --amplitude 0.08 --strain 0.02 -o rattled.xyz
    """
    from psiflow_cli.stages.core.workspace import Job
    from psiflow_cli.stages.structures import rattle

    output = common.output or formats.beside(frames, "rattled")
    settings = {"copies": copies, "amplitude": amplitude, "strain": strain, "seed": seed}
    job = runner.on_site(Job("rattle", frames, output, settings), common)
    rattling = rattle.Rattling(job, copies, amplitude, strain, seed)
    runner.perform(
        job, common,
        plan=lambda workspace: {"copies": sum(1 for _ in workspace.frames()) * copies},
        run=lambda workspace: rattle.run(rattling, workspace),
        as_text=lambda s: f"{counted(s['total'], 'distorted copy', 'distorted copies')} -> {runner.name(s['output'])}",
    )  # fmt: skip
