"""psiflow plot: figures of what evaluate, train and sample have written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from psiflow_cli import formats, options
from psiflow_cli.commands.shared import runner
from psiflow_cli.errors import NoInput, UsageError

if TYPE_CHECKING:
    from psiflow_cli.messages import Summary
    from psiflow_cli.stages.core.workspace import Workspace


@click.command("plot", cls=options.Command)
@click.argument("files", nargs=-1, required=True, metavar="FILES...")
@options.choice("--kind", ["parity", "learning-curve", "series"], None, "Kind of figure [default: according to FILES].")
@options.texts("--style", "FILE|NAME", "Matplotlib style sheet. May be repeated; later ones win.")
@options.keys
@options.common(formats.FIGURE)
def command(
    files: tuple[str, ...], kind: str | None, style: tuple[str, ...], keys: str | None, common: options.Common
) -> None:
    """Plot existing FILES in one figure: .png, .pdf or .svg.

    \b
    parity          frames with labels and predictions, as psiflow evaluate writes
    learning-curve  model bundles, or their metrics.json: a colour for each model
    series          trajectories of psiflow sample, or its tables (--properties)

    Frames that could be either are plotted as parity. Several files of frames are one data set; walkers of several
    trajectories are distinguished by the file names. The errors in a parity plot are those of all frames, as in the
    table of psiflow evaluate, even if only some of very many points are drawn.

    Your matplotlibrc applies, and --style overrides it: a name such as ggplot, or a file such as paper.mplstyle.

    \b
    Examples:
      psiflow plot data.evaluated.xyz -o parity.pdf
      psiflow plot small.model large.model -o curves.svg --style paper.mplstyle
      psiflow plot traj.xyz -o md.png
    """
    from psiflow_cli import extxyz
    from psiflow_cli.stages.core.workspace import Job
    from psiflow_cli.stages.plot import figures, stage

    for name in style:
        if (os.sep in name or name.endswith(".mplstyle")) and not os.path.isfile(name):
            raise NoInput(f"--style {name}: no such file", "check its name and the working directory")
    named, drawn = stage.sources(files, kind)
    output = common.output or formats.beside(tuple(os.path.normpath(file) for file in files), "plot", ".png")
    if output == "-":
        raise UsageError("a figure cannot go to stdout", "name it with --output")
    sheets = tuple(path for path in figures.sheets(style) if os.path.isfile(path))
    job = Job(
        "plot", () if named else drawn, output, {"kind": kind, "style": style, "keys": keys},
        other_inputs=(*(drawn if named else ()), *sheets),
        requires={"matplotlib": "psiflow plot"},
    )  # fmt: skip
    job = runner.on_site(job, common, "plot")
    plot = stage.Plot(job, drawn, kind, extxyz.parse_keys(keys) if keys else None, style)

    def plan(workspace: Workspace) -> dict[str, object]:
        chosen, frames = stage.look(plot, workspace)
        return {"kind": chosen, **({"frames": frames} if frames else {})}

    runner.perform(job, common, plan=plan, run=lambda workspace: stage.run(plot, workspace), as_text=_as_text)


def _as_text(summary: Summary) -> str:
    frames = f" of {summary['frames']} frames" if summary["frames"] else ""
    return f"{summary['kind']}{frames} -> {summary['output']}"
