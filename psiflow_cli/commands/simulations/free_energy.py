"""psiflow free-energy: profiles and surfaces from windows, temperatures, biases and hills."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import click

from psiflow_cli import formats, options
from psiflow_cli.commands.shared import runner, sampled
from psiflow_cli.errors import UsageError
from psiflow_cli.values import quantities

if TYPE_CHECKING:
    from psiflow_cli.messages import Basin, Discarding, FreeEnergy, Summary
    from psiflow_cli.stages.core.workspace import Workspace


def _names(value: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in value.split(",") if word.strip())


def _bins(value: str) -> tuple[int, ...]:
    numbers = tuple(quantities.whole(word) for word in _names(value))
    if not numbers or not all(2 <= number <= 10_000 for number in numbers):
        raise ValueError(f"{value!r} is not a number of bins from 2 to 10000, or one for each CV")
    return numbers


def _ranges(value: str) -> tuple[tuple[float, float], ...]:
    from psiflow_cli.stages.free_energy.request import interval

    ranges = tuple(interval(word) for word in _names(value))
    for low, high in ranges:
        if not low < high:
            raise ValueError(f"{low:g}:{high:g} is not increasing")
    return ranges


def _periodic(value: str) -> dict[str, tuple[float, float]]:
    """`phi` (from -pi to pi) or `x=0:8.5`."""
    from psiflow_cli.stages.free_energy.request import interval

    periods = {}
    for word in _names(value):
        name, equals, ends = word.partition("=")
        low, high = interval(ends if equals else "-pi:pi")
        if not low < high:
            raise ValueError(f"{word!r} is not increasing")
        periods[name] = (low, high)
    return periods


def _basins(value: str) -> tuple[Basin, ...]:
    """`A=-3:-1,B=1:3`; of two CVs `A=-3:-1/0:2`."""
    from psiflow_cli.stages.free_energy.request import interval

    basins: list[Basin] = []
    for word in _names(value):
        name, equals, ranges = word.partition("=")
        if not equals or not name:
            raise ValueError(f"{word!r} is not NAME=LOW:HIGH")
        basins.append({"name": name, "ranges": [list(interval(each)) for each in ranges.split("/")]})
    if len({basin["name"] for basin in basins}) < len(basins):
        raise ValueError("two basins have the same name")
    return tuple(basins)


def _discard(value: str) -> Discarding:
    if value == "auto":
        return {"kind": "auto", "value": 0.0}
    discard = sampled.discarded(value)
    return {"kind": "share" if discard.is_share else "time", "value": discard.value}


@click.command("free-energy", cls=options.Command)
@click.argument("files", nargs=-1, required=True, metavar="FILES...")
@options.choice("--by", ["mbar", "reweight", "hills"], None, "Method [default: the one that FILES allow].")
@options.text(
    "--cv", None, "NAME[,NAME]", "One or two collective variables: the axes of the profile or surface.", _names
)
@options.number(
    "--temperature", None, "K", "Temperature of the result, and of samples whose file does not give one, in K.", above=0
)
@options.number(
    "--pressure",
    None,
    "bar",
    "Pressure of the result, and of samples whose file does not give one, in bar (NPT).",
    least=0,
)
@options.text(
    "--bias", None, "NAME[,NAME]", "Columns with the bias; several are added up; `none` if there was no bias.", _names
)
@options.text("--windows", None, "NAME[,NAME]",
    "Columns whose values identify the window [default: one window per file].", _names)  # fmt: skip
@options.text(
    "--restrained", None, "NAME[,NAME]", "Collective variables that the windows restrain [default: --cv].", _names
)
@options.text("--at", None, "VALUE|NAME[,...]",
    "Centre of each window: one number per file, or one column per restrained variable.", _names)  # fmt: skip
@options.text("--kappa", None, "VALUE|NAME[,...]",
    "Force constant κ in ½ κ (s - at)², given like --at [default: both are fitted to the bias].", _names)  # fmt: skip
@options.text("--window-biases", None, "NAME,NAME,...",
    "One column per window, with the bias of every sample in it, for windows of any shape.", _names)  # fmt: skip
@options.text(
    "--energy",
    None,
    "NAME",
    "Column with the potential energy, needed for several temperatures [default: model_energy].",
)
@options.texts("--hills", "FILE", "HILLS file from which reweighting computes c(t) if --bias is the bias of METAD.")
@options.text(
    "--periodic",
    None,
    "NAME[=LOW:HIGH]",
    "Periodic variables that FILES do not mark as such; the default period is -pi:pi.",
    _periodic,
)
@options.choice("--energy-unit", ["kJ/mol", "kcal/mol", "eV", "hartree"], None,
    "Unit of biases, hills, --kappa and --energy in FILES; columns named ..._eV are in eV [default: the unit in files "
    "of psiflow sample, else kJ/mol].")  # fmt: skip
@options.count("--walker", None, "Use only this walker of FILES, counted from 0.", least=0)
@options.text(
    "--bins",
    None,
    "N[,N]",
    "Number of bins per variable; for hills one less than points [default: 50; 40 for two variables; 100 for hills].",
    _bins,
)
@options.text(
    "--range",
    None,
    "LOW:HIGH[,...]",
    "Range of each variable [default: that of the samples, or the whole period].",
    _ranges,
)
@options.text(
    "--basins",
    None,
    "NAME=LOW:HIGH,...",
    "Also compute the free energy of each region, relative to the first one.",
    _basins,
)
@options.text("--discard", None, "auto|SHARE|TIME",
    "Part left out at the start of each trajectory [default: auto for mbar, 0 for reweight].", _discard)  # fmt: skip
@options.count("--blocks", 20, "Number of blocks in the bootstrap that estimates errors of reweighting.", least=2)
@options.output(
    "--convergence", formats.CSV, "Write the profiles obtained from the first 10 %, 20 %, … of the data.", "FILE.csv"
)
@options.output("--plot", formats.FIGURE, "Plot the profile or surface: .png, .pdf or .svg.")
@options.common(formats.CSV)
def command(
    files: tuple[str, ...],
    common: options.Common,
    plot: str | None,
    convergence: str | None,
    energy_unit: str | None,
    walker: int | None,
    **values: object,
) -> None:
    """Compute free energies along collective variables (CVs) from FILES.

    \b
    mbar      combine umbrella windows and temperatures (pymbar)
    reweight  remove one bias with weights exp(V/kT); errors from a block bootstrap
    hills     sum the hills of metadynamics, like plumed sum_hills; errors from the second half of
              the hills and from walkers with a bias each, which are averaged

    FILES are COLVAR or HILLS files written by PLUMED in any program, tables written by psiflow sample --properties
    (.csv), or its trajectories. Energies in FILES of PLUMED are taken to be in kJ/mol, PLUMED's default, unless
    psiflow sample wrote the file; use --energy-unit if the input of PLUMED sets another unit with UNITS ENERGY.
    Collective variables keep their units. OUTPUT is a table (.csv) with a row for each point, in eV.

    If the bias of harmonic windows was recorded (PRINT ARG=d1,restraint.bias), their centres and force constants are
    fitted to it; values that you give are compared with it. With mbar, pymbar detects the equilibration of each window
    and only uncorrelated samples are used.

    For well-tempered metadynamics, --bias is metad.rbias (from CALC_RCT), or metad.bias together with --hills HILLS.
    For OPES it is opes.bias.

    \b
    Examples:
      psiflow free-energy window-*.colvar --by mbar --cv d1 --temperature 300 --plot d1.png
      psiflow free-energy traj.xyz --by mbar --cv d1 --windows AT -o d1.csv
      psiflow free-energy COLVAR --by reweight --cv phi --temperature 300 --basins A=-3:-1,B=0.5:2
      psiflow free-energy HILLS --temperature 300 --convergence time.csv
    """
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from psiflow_cli.stages.core.workspace import Job
    from psiflow_cli.stages.free_energy import stage, text
    from psiflow_cli.stages.free_energy.request import Request

    if "-" in files:
        raise UsageError("FILES cannot be read from stdin", "store it in a file")
    names = (
        "by",
        "cv",
        "temperature",
        "bias",
        "windows",
        "restrained",
        "at",
        "kappa",
        "window_biases",
        "energy",
        "hills",
    )
    more = ("pressure", "periodic", "bins", "range", "basins", "discard", "blocks")
    settings = {name: values[name] for name in (*names, *more)} | {"energy_unit": energy_unit, "walker": walker}
    output = common.output or formats.beside(files, "free-energy", ".csv")
    frames = tuple(file for file in files if formats.is_text(file) or formats.of_ase(file))
    tables = tuple(file for file in files if file not in frames)
    hills = cast("tuple[str, ...]", values["hills"] or ())
    windows = values["kappa"] or values["windows"] or values["window_biases"]
    mbar = values["by"] == "mbar" or (values["by"] is None and bool(windows))
    job = Job(
        "free-energy", frames, output,
        settings={**settings, "files": files},
        other_inputs=(*tables, *hills),
        other_outputs=tuple(filter(None, (plot, convergence))),
        more_settings={"plot": plot, "convergence": convergence},
        requires={"scipy": "psiflow free-energy"},
        options_require={
            **({"matplotlib": "--plot"} if plot else {}), **({"pymbar": "--by mbar"} if mbar else {}),
        },
    )  # fmt: skip
    job = runner.on_site(job, common, "free-energy")
    unset: dict[str, object] = {name: values[name] or () for name in (
        "bias", "windows", "restrained", "at", "kappa", "window_biases", "bins", "basins")}  # fmt: skip
    request = Request(
        job=job, files=files, cvs=cast("tuple[str, ...]", values["cv"] or ()), hills=hills,
        ranges=cast("tuple[tuple[float, float], ...]", values["range"] or ()),
        periodic=cast("dict[str, tuple[float, float]]", values["periodic"] or {}),
        energy_unit=quantities.TABLES["eV"][energy_unit] if energy_unit else None, walker=walker, plot=plot,
        convergence=convergence,
        **{name: values[name] for name in ("by", "temperature", "pressure", "energy", "discard", "blocks")},  # type: ignore[arg-type]
        **unset,  # type: ignore[arg-type]
    )  # fmt: skip

    def plan(workspace: Workspace) -> dict[str, object]:
        by, headers = stage.look(request, workspace)
        with TemporaryDirectory() as folder:
            stage.prepared(request, workspace, by, headers, Path(folder))
        return {"by": by, "files": len(files)}

    runner.perform(
        job, common, plan=plan, run=lambda workspace: stage.run(request, workspace), as_text=_as_text,
        show=lambda summary: text.as_text(cast("FreeEnergy", summary["free_energy"])),
    )  # fmt: skip


def _as_text(summary: Summary) -> str:
    result = summary["free_energy"]
    what = {"hills": "hills", "mbar": "independent samples", "reweight": "effective samples"}[summary["by"]]
    written = ", ".join(filter(None, (summary["output"], summary["plot"], summary["convergence"])))
    return f"{result['used']:.0f} {what} of {result['samples']} -> {written}"
