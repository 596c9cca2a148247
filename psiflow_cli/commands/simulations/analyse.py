"""psiflow analyse: structure and dynamics of trajectories."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from psiflow_cli import formats, options
from psiflow_cli.commands.shared import runner
from psiflow_cli.elements import SYMBOLS
from psiflow_cli.errors import UsageError, counted, nearest
from psiflow_cli.values import quantities

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from psiflow_cli.messages import AnalysisOptions, Summary


def _pairs(value: str) -> tuple[tuple[str, str], ...]:
    """`O-O,O-H`."""
    pairs = []
    for word in value.split(","):
        elements = tuple(each.strip() for each in word.split("-"))
        if len(elements) != 2 or not all(elements):
            raise ValueError(f"{word.strip()!r} is not a pair of elements such as O-H")
        for element in elements:
            if element not in SYMBOLS:
                raise ValueError(f"{element!r} is not an element {nearest(element, list(SYMBOLS))}".strip())
        pairs.append((elements[0], elements[1]))
    return tuple(dict.fromkeys(pairs))


def _window(value: str) -> tuple[float, float]:
    """`500:5000` in fs, or `0.5ps:5ps`."""
    ends = [quantities.number(word, "fs") for word in value.split(":")]
    if len(ends) != 2 or not 0 <= ends[0] < ends[1]:
        raise ValueError(f"{value!r} is not FROM:TO, two increasing times")
    return ends[0], ends[1]


@click.command("analyse", cls=options.Command, short_help="Structure and dynamics of trajectories")
@options.frames
@options.text("--rdf", None, "A-B[,A-B...]", "Radial distribution functions of these pairs of elements.", _pairs)
@options.number(
    "--rmax",
    None,
    "Å",
    "Largest distance of --rdf, in Å [default: half the smallest width of the cell, at most 10].",
    above=0,
)
@options.count("--bins", 200, "Number of bins of --rdf.", least=2)
@options.flag("--msd", "Mean squared displacements and diffusion coefficients.")
@options.text("--fit", None, "FROM:TO",
    "Time range of the linear fit to --msd, in fs [default: the last four fifths].", _window)  # fmt: skip
@options.flag("--vacf", "Velocity autocorrelation functions and vibrational spectra.")
@options.number("--timestep", None, "fs", "Time between frames, in fs, if FRAMES do not have it.", above=0)
@options.count("--walker", None, "Use only the frames of this walker, counted from 0.", least=0)
@options.count("--blocks", 5, "Smallest number of blocks for the errors; 1: no errors.")
@options.flag("--keep-drift", "Keep the motion of the centre of mass in --msd and --vacf.")
@options.output("--plot", formats.FIGURE, "Plot the curves: .png, .pdf or .svg.")
@options.common(formats.CSV)
def command(
    frames: tuple[str, ...],
    timestep: float | None,
    walker: int | None,
    keep_drift: bool,
    plot: str | None,
    common: options.Common,
    **values: Unpack[AnalysisOptions],
) -> None:
    """Analyse the structure, diffusion and vibrations of trajectories.

    Frames of psiflow sample have their walker and time, and each walker is a trajectory. Any other file is one
    trajectory, for which --msd and --vacf need --timestep. Means of temperature, pressure, volume and density are
    always printed if frames have them.

    Trajectories are divided into --blocks or more blocks of equally many frames; values are means over blocks with
    their standard error, and correlation times go up to half a block.

    \b
    rdf    A-B: density of B at r around A over N_B/V, in each frame's own cell; neighbours up to r
    msd    of each element, unwrapped, relative to the centre of mass; D = slope / 6
    vacf   of each element, from momenta or velocities in FRAMES, else from positions;
           the spectrum is mass-weighted, and its area is 1

    OUTPUT is a table (.csv) with a row for each point: quantity, of, against, x, value, error, unit.

    \b
    Examples:
      psiflow analyse traj.xyz --rdf O-O,O-H --msd --plot water.png
      psiflow sample start.xyz --model water.model --velocities --every 2 -o traj.xyz
      psiflow analyse traj.xyz --vacf --blocks 4 -o vibrations.csv
      psiflow analyse XDATCAR --msd --timestep 10 --fit 1ps:5ps
    """
    from psiflow_cli.stages.analyse import reading, stage
    from psiflow_cli.stages.core.workspace import Job

    for option, value, needs in (("--rmax", values["rmax"], "rdf"), ("--fit", values["fit"], "msd")):
        if value and not values[needs]:  # type: ignore[literal-required]
            raise UsageError(f"{option} without --{needs}", "give both, or neither")
    if plot and not (values["rdf"] or values["msd"] or values["vacf"]):
        raise UsageError("--plot needs a curve", "give --rdf, --msd or --vacf; psiflow plot draws time series")
    output = common.output or formats.beside(frames, "analysed", ".csv")
    if output == "-":
        raise UsageError("frames from stdin need a name for the table", "name it with --output")
    values["rdf"] = values["rdf"] or ()
    settings = {**values, "timestep": timestep, "keep_drift": keep_drift}
    if walker is not None:
        settings["walker"] = walker
    job = Job(
        "analyse", frames, output, settings,
        other_outputs=(plot,) if plot else (),
        more_settings={"plot": plot},
        requires={"ase": "psiflow analyse", "scipy": "psiflow analyse"},
        options_require={"matplotlib": "--plot"} if plot else {},
    )  # fmt: skip
    job = runner.on_site(job, common, "analyse")
    request = stage.Request(job, values, reading.Choice(timestep, walker, keep_drift), plot)
    runner.perform(
        job, common, as_text=_as_text, show=lambda summary: summary["table"],
        plan=lambda workspace: stage.look(request, workspace), run=lambda workspace: stage.run(request, workspace),
    )  # fmt: skip


def _as_text(summary: Summary) -> str:
    written = ", ".join(filter(None, (summary["output"], summary["plot"])))
    blocks = f"{counted(summary['blocks'], 'block')} of {summary['block_frames']} frames"
    return f"{counted(summary['frames'], 'frame')} of {summary['trajectories']} trajectories, in {blocks} -> {written}"
